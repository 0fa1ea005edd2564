"""TensorFlow runner. What the Python runners share (data, events, loop …) lies in ../_python; see its README.md."""

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
    "loader": ("resident", "stream"),
    "optimizer.schedule": ("constant", "cosine"),
    "variant": ("function", "xla"),
}


def describe() -> dict[str, object]:
    """Return the versions of TensorFlow and of what it was built with, and whether its oneDNN kernels are on."""
    import os
    import platform
    from importlib.metadata import version

    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    return {
        "language": "Python",
        "language_version": platform.python_version(),
        "framework": "TensorFlow",
        "framework_version": tf.__version__,
        "devices": ["cpu", *(["cuda"] if tf.config.list_physical_devices("GPU") else [])],
        "numpy": version("numpy"),
        "onednn": {"0": "off", "1": "on"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""), "as built"),
        **{name: build[f"{name}_version"] for name in ("cuda", "cudnn") if build["is_cuda_build"]},
    }


if __name__ == "__main__":
    main(START, SUPPORTED, describe)
