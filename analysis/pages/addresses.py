"""Where pages lie, from the root of the site (pure). Names come from a store, so they are not trusted as paths."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

SAFE_NAME = re.compile(r"(?!(?:index|readme)$)[a-z0-9][a-z0-9._-]{0,99}", re.IGNORECASE)

STUDIES_ADDRESS = "studies.html"


def file_name(name: str) -> str:
    """Return a name that can be a file's: itself where it can, else a hash of it.

    >>> file_name("mnist_mlp"), file_name("../x")
    ('mnist_mlp', '_d6b96a97')
    """
    return name if SAFE_NAME.fullmatch(name) else f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def run_addresses(run_ids: Iterable[str]) -> dict[str, str]:
    """Return the address of each run's page by the run's id."""
    return {run_id: f"runs/{file_name(run_id)}.html" for run_id in run_ids}


def workload_address(workload: str) -> str:
    """Return the address of a workload's page."""
    return f"workloads/{file_name(workload)}.html"


def source(address: str) -> str:
    """Return the Markdown file behind the address of a page."""
    return address.removesuffix(".html") + ".md"
