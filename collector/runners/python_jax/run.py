"""JAX runner. What the Python runners share (data, events, loop …) lies in ../_python; see its README.md."""

# ruff: noqa: E402 -- the clock is read before anything else is imported
import time

START = (time.monotonic_ns(), time.time_ns())  # run_start: before any other statement

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
from _python.program import main

SUPPORTED = {
    "device": ("cpu", "cuda"),
    "dtype": ("fp32", "tf32", "bf16"),
    "optimizer.schedule": ("constant", "cosine"),
    "variant": ("jit", "nnx"),
}


def describe() -> dict[str, object]:
    """Return the versions of JAX, of jaxlib, which brings XLA and its kernels, and of what the variant nnx adds."""
    import platform
    from importlib.metadata import version

    import jax

    return {
        "language": "Python",
        "language_version": platform.python_version(),
        "framework": "JAX",
        "framework_version": version("jax"),
        "devices": ["cpu", *(["cuda"] if jax.default_backend() == "gpu" else [])],
        **{package: version(package) for package in ("jaxlib", "flax", "optax", "numpy")},
    }


if __name__ == "__main__":
    main(START, SUPPORTED, describe)
