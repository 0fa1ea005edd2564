"""The device: threads, precision, and what it cannot do."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext

import torch
from _python.trial import Trial


def initialise(trial: Trial) -> None:
    """Set threads, device and precision; a device that is missing raises, and is never replaced by the CPU."""
    torch.set_flush_denormal(True)  # subnormals late in MNIST cost up to 15 %; threads started later inherit it
    torch.set_num_threads(trial["threads"])
    torch.set_num_interop_threads(1)
    if trial["device"] == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device: got cuda; PyTorch has no such device here")
    _set_precision("tf32" if trial["dtype"] == "tf32" else "ieee")
    torch.backends.cudnn.benchmark = True  # the search ends before compile_stop: every shape is met there
    torch.backends.cudnn.deterministic = False
    if trial["variant"] == "compile":
        _start_without_cache()


def reason_unsupported(trial: Trial) -> str:
    """Return why a trial cannot be done on this machine or by its variant, or an empty string."""
    device, dtype, variant = trial["device"], trial["dtype"], trial["variant"]
    if variant == "loader" and trial["loader"] != "resident":
        return f"loader: got {trial['loader']}; variant loader supports resident, whose order is given"
    if dtype == "tf32" and (device == "cpu" or torch.cuda.get_device_capability() < (8, 0)):
        return f"dtype: got tf32; {_name(device)} has no TensorFloat-32"
    if dtype == "bf16" and not _multiplies_bf16(device):
        return f"dtype: got bf16; {_name(device)} cannot multiply bfloat16"
    return _reason_not_compiled(device) if variant == "compile" else ""


def autocast(trial: Trial) -> AbstractContextManager[object]:
    """Return the context of the forward pass: with bf16, inputs of matrix products and convolutions are rounded."""
    if trial["dtype"] != "bf16":
        return nullcontext()
    return torch.autocast(trial["device"], dtype=torch.bfloat16)


def memory_format(trial: Trial) -> torch.memory_format:
    """Return the layout of images and kernels: channels last where it is faster and as exact.

    - On a CPU oneDNN's convolutions and max-pooling are 1.1 to 1.6 times as fast with it, but the batch norm sums a
      channel without pairing: the logits of `cnn` are 7e-5 off then, and 4e-7 with channels first.
    - On a GPU tensor cores read it; strict float32 does not use them.
    """
    if trial["device"] == "cuda":
        last = trial["dtype"] != "fp32"
    else:
        last = trial["model"] in ("lenet5", "keras_cnn") or (trial["model"] == "cnn" and not trial["model.batch_norm"])
    return torch.channels_last if last else torch.contiguous_format


def synchronise(device: torch.device) -> None:
    """Return when everything given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def flushes_subnormals() -> bool:
    """Return whether every compute thread flushes subnormals: the array is long enough for all of them."""
    return bool((torch.full((1 << 20,), 1e-38) * 0.01 == 0).all())


def _set_precision(precision: str) -> None:
    """Say how float32 is multiplied, to each library by itself: their defaults differ."""
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    torch.backends.mkldnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def _start_without_cache() -> None:
    """Let the compiler write into a new folder, gone at exit: objects built by another run are not found again."""
    folder = tempfile.mkdtemp(prefix="inductor-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _multiplies_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _reason_not_compiled(device: str) -> str:
    if device == "cuda":
        from torch.utils._triton import has_triton

        return "" if has_triton() else f"variant: got compile; Triton cannot build kernels for {_name(device)} here"
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler):
        return ""
    return f"variant: got compile; it needs a C++ compiler, and {compiler} was not found. Install g++ or set CXX"


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "this CPU"
