"""The machine and its software, captured once per campaign."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from store.definition import code_hash, content_hash
from store.records import EnvironmentRow

PROJECT = Path(__file__).parent.parent.parent
MEASURING = (
    "campaign", "datasets", "gate", "machine", "plan", "protocol", "reference", "run", "runners", "telemetry",
    "toolchains", "workloads",
)  # fmt: skip
# Variables that change how fast a runtime is or what it computes, but not where something lies on one machine.
SPEED_VARIABLES = (
    "CUDA_", "ELIXIR_ERL_", "ERL_", "GOMP_", "JAX_", "JULIA_", "KERAS_", "KMP_", "LD_PRELOAD", "MALLOC_", "MKL_",
    "NVIDIA_TF32_OVERRIDE", "OMP_", "OPENBLAS_", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTORCH_",
    "TF_ENABLE_", "TF_FORCE_", "TF_GPU_", "TF_XLA_", "TORCHINDUCTOR_", "TORCH_", "XLA_",
)  # fmt: skip
PLACES = ("DIR", "FILE", "HOME", "LIBS", "PATH", "ROOT", "VERSION")


def probe_environment(
    versions: Mapping[str, Mapping[str, str]], environments: Mapping[str, Mapping[str, str]]
) -> EnvironmentRow:
    """Return this machine as a row.

    `versions` is what each runner's --describe told, or why it could not; `environments` what its runner.toml sets.
    """
    gpus = probe_gpus()
    commit, dirty = probe_commit(PROJECT)
    row = EnvironmentRow(
        environment_id="",
        captured_at=datetime.now(UTC),
        hostname=socket.gethostname(),
        os=_read_os_name(),
        kernel=platform.release(),
        cpu_model=_read_cpu_model(),
        cpu_cores=len(os.sched_getaffinity(0)),
        cpu_governor=_read_first("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not readable here",
        memory_bytes=psutil.virtual_memory().total,
        gpu_model=gpus[0]["model"] if gpus else "",
        gpu_count=len(gpus),
        gpu_memory_bytes=int(gpus[0]["memory_bytes"]) if gpus else 0,
        driver_version=gpus[0]["driver"] if gpus else "",
        git_commit=commit,
        git_dirty=dirty,
        versions=json.dumps({name: dict(told) for name, told in versions.items()}, sort_keys=True),
        settings=json.dumps(
            {**probe_settings(), **runner_settings(environments), "collector": read_code_hash(PROJECT)}, sort_keys=True
        ),
    )
    return EnvironmentRow(**{**asdict(row), "environment_id": environment_id(row)})


def environment_id(row: EnvironmentRow) -> str:
    """Return the content hash of what may change a measurement: the commit may not, the measuring code may."""
    silent = ("environment_id", "captured_at", "git_commit", "git_dirty")
    facts = {name: value for name, value in asdict(row).items() if name not in silent}
    return content_hash(json.dumps(facts, sort_keys=True))


def read_code_hash(project: Path) -> str:
    """Return a hash of what measures, as it lies there now: neither the command line nor a suite does."""
    return code_hash(project / "collector", MEASURING)


def probe_settings() -> dict[str, str]:
    """Return what bears on speed and can be read without rights."""
    paths = {
        "aslr": "/proc/sys/kernel/randomize_va_space",
        "no_turbo": "/sys/devices/system/cpu/intel_pstate/no_turbo",
        "boost": "/sys/devices/system/cpu/cpufreq/boost",
        "smt": "/sys/devices/system/cpu/smt/active",
        "transparent_hugepage": "/sys/kernel/mm/transparent_hugepage/enabled",
    }
    settings = {name: text for name, path in paths.items() if (text := _read_first(path))}
    variables = {
        key: value for key, value in os.environ.items() if key.startswith(SPEED_VARIABLES) and not key.endswith(PLACES)
    }
    return {**settings, **variables, "cores": ",".join(map(str, sorted(os.sched_getaffinity(0))))}


def runner_settings(environments: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return what runners set for their own process, by `<runner>.<variable>`."""
    return {f"{name}.{key}": value for name, own in environments.items() for key, value in own.items()}


def probe_gpus() -> list[dict[str, str]]:
    """Return model, memory and driver of each NVIDIA GPU; an empty list where there is none.

    What a device does not tell is empty, its memory 0: one refusal hides nothing else.
    """
    import pynvml

    def told(ask: Callable[..., object], *what: object) -> str:
        try:
            return str(ask(*what))
        except pynvml.NVMLError:
            return ""

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = told(pynvml.nvmlSystemGetDriverVersion)
        return [
            {
                "model": told(lambda at: pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(at)), index),
                "memory_bytes": told(_memory_bytes, pynvml, index) or "0",
                "driver": driver,
            }
            for index in range(int(told(pynvml.nvmlDeviceGetCount) or 0))
        ]
    finally:
        pynvml.nvmlShutdown()


def _memory_bytes(nvml: Any, index: int) -> int:  # noqa: ANN401 - the library has no types
    return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index)).total)


def probe_commit(project: Path) -> tuple[str, bool]:
    """Return the commit of `project` itself, or why it is unknown, and whether its tree is dirty."""
    top, reason = _ask_git(project, "rev-parse", "--show-toplevel")
    if not top:
        return f"unknown: {reason}", False
    if Path(top).resolve() != project.resolve():
        return "unknown: not a git checkout, though it lies in one of another project", False
    commit, reason = _ask_git(project, "rev-parse", "HEAD")
    return commit or f"unknown: {reason}", bool(_ask_git(project, "status", "--porcelain")[0])


def _ask_git(project: Path, *arguments: str) -> tuple[str, str]:
    """Return git's answer, and where it gives none its reason."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(project), *arguments],
            capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as failure:
        return "", f"git gave no answer ({type(failure).__name__})"
    if answer.returncode == 0:
        return answer.stdout.strip(), ""
    if "dubious ownership" in answer.stderr:
        return "", "git refuses to read a checkout that belongs to another user (see its setting safe.directory)"
    return "", "not a git checkout" if "not a git repository" in answer.stderr else "git refuses to read the checkout"


def _read_os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform(terse=True)


def _read_cpu_model() -> str:
    lines = (_read_text("/proc/cpuinfo") or "").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _read_first(path: str) -> str:
    return (_read_text(path) or "").strip()


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
