"""PyTorch runner. What the Python runners share (data, events, loop …) lies in ../_python; see its README.md."""

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
    "variant": ("eager", "compile", "loader"),
}


def describe() -> dict[str, object]:
    """Return the versions of PyTorch and of the libraries that hold its kernels."""
    import platform
    import re
    from importlib.metadata import version

    import torch

    build = torch.__config__.show()
    libraries = {
        "mkl": r"oneAPI Math Kernel Library Version (\S+)",
        "onednn": r"MKL-DNN v(\S+)",
        "cpu_capability": r"CPU capability usage: (\S+)",
    }
    found = {name: match[1] for name, pattern in libraries.items() if (match := re.search(pattern, build))}
    return {
        "language": "Python",
        "language_version": platform.python_version(),
        "framework": "PyTorch",
        "framework_version": torch.__version__,
        "devices": ["cpu", *(["cuda"] if torch.cuda.is_available() else [])],
        "numpy": version("numpy"),
        **({"cuda": torch.version.cuda} if torch.version.cuda else {}),
        **found,
        **compiler(),
    }


def compiler() -> dict[str, str]:
    """Return the version of the C++ compiler that the variant compile calls, where there is one."""
    import os
    import shutil
    import subprocess

    path = shutil.which(os.environ.get("CXX", "g++"))
    if path is None:
        return {}
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return {"cxx": answer.stdout.partition("\n")[0]}


if __name__ == "__main__":
    main(START, SUPPORTED, describe)
