"""Julia as the Python package juliapkg finds or downloads it, where that is installed; juliacall brings it along."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from store.errors import DeadheatError

VERSIONS = "https://julialang-s3.julialang.org/bin/versions.json"  # what juliapkg asks first
# Says what it will download before it does; its own messages follow. The last argument is the file for the result.
SCRIPT = """
import pathlib, sys
from juliapkg.compat import Compat
from juliapkg.find_julia import find_julia
from juliapkg.install_julia import best_julia_version
compat, prefix = Compat.parse(sys.argv[1]), sys.argv[2]
try:
    found = find_julia(compat=compat, prefix=prefix)
except Exception:
    version, information = best_julia_version(compat)
    file = information["files"][0]
    print(f"downloading Julia {version}, {file['size'] / 1e6:.0f} MB, from {file['url']}", flush=True)
    found = find_julia(compat=compat, prefix=prefix, install=True)
pathlib.Path(sys.argv[3]).write_text(str(found[0]))
"""


class FinderError(DeadheatError):
    """juliapkg is there and did not give a Julia."""


def is_finder_installed() -> bool:
    """Return whether this Python has juliapkg."""
    return importlib.util.find_spec("juliapkg") is not None


def find_by_juliapkg(minimum_version: str, folder: Path, console: Console) -> Path:
    """Return the Julia that juliapkg has or downloads into `folder`, showing what it says meanwhile.

    Raises
    ------
    FinderError
        With the address that was asked and the reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "found"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-u", "-c", SCRIPT, f"^{minimum_version}", str(folder), str(result)]
    last = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as finder:
        for line in finder.stdout or ():
            if said := line.strip():
                last = said
                console.print(f"julia: {said}", soft_wrap=True, highlight=False, markup=False)
    if finder.returncode != 0 or not result.exists():
        raise FinderError(f"juliapkg, which asks {VERSIONS}: {last or 'no message'}")
    return Path(result.read_text(encoding="utf-8"))
