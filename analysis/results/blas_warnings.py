"""Warnings about OpenBLAS: on a CPU that it does not know, it computes as on a far older one (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# OpenBLAS's names of kernels for x86 from before AVX (2011).
WITHOUT_AVX = frozenset(
    [
        *("athlon", "atom", "banias", "barcelona", "bobcat", "coppermine", "core2", "dunnington", "katmai", "nano"),
        *("nehalem", "northwood", "opteron", "opteron_sse3", "penryn", "prescott", "yonah"),
    ]
)


def blas_warnings(environment: Mapping[Any, Any]) -> list[str]:
    """Return a sentence for each runner of an environment whose OpenBLAS has kernels from before AVX.

    Parameters
    ----------
    environment
        A row of `environments`: what a runner computes with stands in `versions`, under `blas`, the kernels last.

    Examples
    --------
    >>> blas_warnings({"cpu_model": "AMD EPYC", "versions": '{"julia_stdlib": {"blas": "OpenBLAS 0.3.9 Haswell"}}'})
    []
    """
    try:
        told = json.loads(environment["versions"])
    except ValueError:
        return []
    found = []
    for runner, versions in told.items() if isinstance(told, dict) else ():
        blas = versions.get("blas", "") if isinstance(versions, dict) else ""
        library, _, kernels = str(blas).rpartition(" ")
        if is_old(kernels, environment["cpu_model"]):
            found.append(
                f"{runner}: {library} computes with its kernels for {kernels}, which know no AVX, on "
                f"{environment['cpu_model']}: it does not recognise this processor, and is slower "
                "than it could be. OPENBLAS_CORETYPE=Haswell has it take those for AVX2."
            )
    return found


def is_old(kernels: str, cpu_model: str) -> bool:
    """Whether kernels are from before AVX; the generic ones are on x86 only.

    >>> is_old("Barcelona", "AMD EPYC"), is_old("generic", "Intel Xeon"), is_old("generic", "Neoverse-N1")
    (True, True, False)
    """
    is_x86 = any(maker in cpu_model for maker in ("AMD", "Intel"))
    return kernels.lower() in WITHOUT_AVX or (kernels.lower() == "generic" and is_x86)
