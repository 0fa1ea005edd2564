"""Keras runner. What the Python runners share (data, events, loop …) lies in ../_python; see its README.md."""

# ruff: noqa: E402 -- the clock is read before anything else is imported
import time

START = (time.monotonic_ns(), time.time_ns())  # run_start: before any other statement

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
from _python.program import main

BACKENDS = ("tensorflow", "jax", "torch")
SUPPORTED = {
    "device": ("cpu", "cuda"),
    "optimizer.schedule": ("constant", "cosine"),
    "variant": tuple(f"{backend}_{way}" for backend in BACKENDS for way in ("fit", "step")),
}


def describe() -> dict[str, object]:
    """Return the versions of Keras and of its backends, none of which is imported: that takes ten seconds."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for backend, package in (("tensorflow", "tensorflow-cpu"), ("jax", "jax"), ("torch", "torch")):
        try:
            versions[backend] = version(package)
        except PackageNotFoundError:
            versions[backend] = version(backend)  # the build with CUDA goes by the plain name
    return {
        "language": "Python",
        "language_version": platform.python_version(),
        "framework": "Keras",
        "framework_version": version("keras"),
        "devices": ["cpu", *(["cuda"] if Path("/dev/nvidiactl").exists() else [])],
        "numpy": version("numpy"),
        **versions,
    }


if __name__ == "__main__":
    main(START, SUPPORTED, describe)
