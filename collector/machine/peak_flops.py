"""The machine's own limit: how fast it multiplies float32 matrices, measured in a short process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from collector.run.launch import CONFINE

SIDES = {"cpu": 2048, "cuda": 8192}  # large enough that a product is limited by arithmetic alone
PRODUCTS = 4  # the first one also warms up; the fastest counts
TIMEOUT_S = 60.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure_limit(device: str, threads: int, cores: Sequence[int]) -> float | None:
    """Return the FLOP/s of the best float32 matrix product on `cores`; None where none could be measured.

    The process has ended when this returns, so that it disturbs no run.
    """
    command = [
        *CONFINE,
        ",".join(map(str, cores)),
        sys.executable,
        "-m",
        "collector.machine.peak_flops",
        device,
        str(threads),
    ]
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        answer = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
            start_new_session=True,  # Ctrl-C reaches the collector alone, which ends this process
        )
        return float(answer.stdout) or None
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def best_rate(side: int, multiply: Callable[[], object]) -> float:
    """Return the FLOP/s of the fastest of a few products of square matrices; `multiply` is done when it returns."""
    durations_s = []
    for _ in range(PRODUCTS):
        start_ns = time.perf_counter_ns()
        multiply()
        durations_s.append((time.perf_counter_ns() - start_ns) / 1e9)
    return float(2 * side**3 / min(durations_s))


def numpy_rate(side: int) -> float:
    """Return the rate of NumPy's BLAS."""
    import numpy as np

    generator = np.random.default_rng(0)
    left, right = (generator.random((side, side), dtype=np.float32) for _ in range(2))
    product = np.empty_like(left)
    return best_rate(side, lambda: np.matmul(left, right, out=product))


def torch_rate(device: str, side: int, threads: int) -> float:
    """Return the rate of PyTorch's BLAS in strict float32, 0 where it is not installed or lacks the device."""
    try:
        import torch
    except ImportError:
        return 0.0
    if device == "cuda" and not torch.cuda.is_available():
        return 0.0
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    left, right = (torch.rand((side, side), device=device) for _ in range(2))
    product = torch.empty_like(left)

    def multiply() -> None:
        torch.matmul(left, right, out=product)
        if device == "cuda":
            torch.cuda.synchronize()

    multiply()
    return best_rate(side, multiply)


def main(device: str, threads: int) -> None:
    """Print the better rate of the libraries that are there."""
    side = SIDES[device]
    rates = [torch_rate(device, side, threads)]
    if device == "cpu":
        rates.append(numpy_rate(side))
    sys.stdout.write(f"{max(rates)}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
