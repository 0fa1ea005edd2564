"""The packages of runners in Elixir: what Mix will get is said, with its size, before Mix gets it.

A runner with a `mix.exs` has a `downloads.toml` beside it: its packages, whose addresses Hex knows, and further
addresses. Everything lands under `.toolchains/<runner>/`; nothing is written into the runner's folder or into a
person's own folders.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import Field
from rich.console import Console

from collector.toolchains.cmake import BUILDS
from collector.toolchains.toolchain import (
    PROJECT,
    RUNNERS,
    SetupResult,
    ToolchainError,
    find_toolchain,
    is_new_enough,
    probe_version,
    read_toolchain,
)
from store.definition import Definition, read_definition

DOWNLOADS = "downloads.toml"
LOG = "setup.log"
BACKENDS = "DEADHEAT_AXON_BACKENDS"
TIMEOUT_S = 20.0
HEX = "hex:"  # before a package's name and version
MIX = "Mix.start(); Mix.CLI.main(System.argv())"
ITSELF = (["local.hex", "--force", "--if-missing"], ["local.rebar", "--force", "--if-missing"])


class Downloads(Definition):
    """What `downloads.toml` says."""

    minimum_version: Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]
    always: list[str]
    default: list[str]
    backends: dict[str, list[str]]


def mix_runners(runners: Path = RUNNERS) -> list[str]:
    """Return the names of the runners whose packages Mix gets, sorted."""
    return sorted(path.parent.name for path in runners.glob("*/mix.exs"))


def setup_packages(
    *, root: Path = PROJECT, runners: Path = RUNNERS, console: Console | None = None
) -> list[SetupResult]:
    """Get the packages of every such runner and say how that ended; a failure names the address and who needs it.

    Parameters
    ----------
    root
        The project: packages land under `<root>/.toolchains/<runner>`.
    runners
        The folder of runners.
    console
        Where progress goes; standard error if not given.
    """
    console = console or Console(stderr=True)
    return [_setup(name, root, runners, console) for name in mix_runners(runners)]


def chosen_backends(downloads: Downloads, environment: Mapping[str, str]) -> list[str]:
    """Return the backends that the environment asks for, or the default ones; raise for one that nobody knows."""
    asked = environment.get(BACKENDS, "").split(",")
    names = [name.strip() for name in asked if name.strip()] or downloads.default
    if unknown := sorted(set(names) - set(downloads.backends)):
        raise ToolchainError(
            f"{BACKENDS}: got {unknown[0]!r}; expected names of {', '.join(downloads.backends)}, separated by commas. "
            "Correct the name."
        )
    return names


def size_bytes(address: str) -> int:
    """Return the size of what lies at `address`; raise `ToolchainError` with the reason where nobody answers."""
    try:
        answer = httpx.head(address, follow_redirects=True, timeout=TIMEOUT_S).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as reason:
        raise ToolchainError(f"{address}: {str(reason).splitlines()[0] or type(reason).__name__}") from None
    return int(answer.headers.get("content-length", 0))


def _setup(name: str, root: Path, runners: Path, console: Console) -> SetupResult:
    downloads = read_definition(runners / name / DOWNLOADS, Downloads, ToolchainError)
    try:
        elixir, version = _elixir(name, downloads, root)
        backends = chosen_backends(downloads, os.environ)
        mix = _Mix(name, elixir, runners / name, root / BUILDS / name, backends, console)
        for task in ITSELF:
            mix.run(task)
        wanted = [*downloads.always, *(a for b in backends for a in downloads.backends[b])]
        _announce(name, _addresses(wanted, mix), backends, console)
        mix.run(["do", "deps.get", "+", "compile"])
    except ToolchainError as reason:
        return SetupResult(language=name, state="failed", executable=None, version="", message=str(reason))
    message = f"packages for {', '.join(backends)} are in {mix.home}"
    return SetupResult(language=name, state="ready", executable=elixir, version=version, message=message)


def _addresses(wanted: list[str], mix: _Mix) -> list[str]:
    """Return where everything lies: Hex is asked for the address of its packages."""
    if not any(what.startswith(HEX) for what in wanted):
        return wanted
    told = mix.run(["hex.repo", "show", "hexpm"])
    found = re.search(r"https?://[^\s|]+", told)
    if not found:
        raise ToolchainError(
            f"mix hex.repo show hexpm: got {told.strip()!r}; expected the address of Hex's packages. "
            "Set it with mix hex.repo set, then: deadheat setup elixir."
        )
    base = found[0].rstrip("/")
    return [f"{base}/tarballs/{what.removeprefix(HEX)}.tar" if what.startswith(HEX) else what for what in wanted]


def _elixir(name: str, downloads: Downloads, root: Path) -> tuple[Path, str]:
    """Return an Elixir that is new enough for the packages, and its version."""
    elixir = find_toolchain("elixir", root=root)
    version = probe_version(read_toolchain("elixir"), elixir) if elixir else ""
    if elixir is None or not is_new_enough(version, downloads.minimum_version):
        found = (
            f"{elixir} is Elixir {version or 'of no version that could be read'}" if elixir else "there is no Elixir"
        )
        raise ToolchainError(
            f"{found}; expected {downloads.minimum_version} or newer, which the packages of {name} need. Install it "
            "(https://elixir-lang.org/install.html) and name it with DEADHEAT_ELIXIR; runners without packages go on "
            "with the one that is there."
        )
    return elixir, version


def _announce(name: str, addresses: list[str], backends: list[str], console: Console) -> None:
    """Say what will be downloaded, and how much; where an address does not answer, say which, and stop."""
    with ThreadPoolExecutor(max_workers=len(addresses)) as pool:
        answers = list(pool.map(_size_or_reason, addresses))
    if reasons := [answer for answer in answers if isinstance(answer, str)]:
        raise ToolchainError(
            f"{'; '.join(reasons)}. Expected the packages of {name} there; no other runner needs them. Look at the "
            f"network, or set a proxy (HTTPS_PROXY), then: deadheat setup elixir. All that is there stays usable."
        )
    total_bytes = sum(answer for answer in answers if isinstance(answer, int))
    hosts = ", ".join(dict.fromkeys(urlsplit(address).hostname or address for address in addresses))
    what = f"{len(addresses)} files, {total_bytes / 1e6:.0f} MB, for {', '.join(backends)}"
    console.print(
        f"{name}: downloading {what} from {hosts}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _size_or_reason(address: str) -> int | str:
    try:
        return size_bytes(address)
    except ToolchainError as reason:
        return str(reason)


class _Mix:
    """Runs tasks of Mix for one runner: shows what they print, keeps it in a log, and says what failed."""

    def __init__(
        self, name: str, elixir: Path, folder: Path, home: Path, backends: list[str], console: Console
    ) -> None:
        self.home = home
        self._name, self._elixir, self._folder, self._console = name, elixir, folder, console
        self._log = home / LOG
        caches = {cache: str(home / "cache") for cache in ("XLA_CACHE_DIR", "LIBTORCH_CACHE", "LIBMLX_CACHE")}
        own = {"MIX_ENV": "prod", "MIX_HOME": str(home / "mix"), "HEX_HOME": str(home / "hex")}
        self._environment = {**caches, **os.environ, **own, BACKENDS: ",".join(backends)}
        home.mkdir(parents=True, exist_ok=True)
        self._log.write_text("", encoding="utf-8")

    def run(self, task: list[str]) -> str:
        """Run a task and return what it printed; raise `ToolchainError` where it ends badly."""
        lines = []
        with (
            self._log.open("a", encoding="utf-8") as log,
            subprocess.Popen(
                [str(self._elixir), "-e", MIX, "--", *task],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            for line in process.stdout or ():
                lines.append(line)
                log.write(line)
                if line.strip():
                    self._console.print(f"{self._name}: {line.rstrip()}", highlight=False, markup=False, soft_wrap=True)
        if process.returncode != 0:
            raise ToolchainError(self._failure(task, process.returncode, lines))
        return "".join(lines)

    def _failure(self, task: list[str], code: int, printed: list[str]) -> str:
        lines = [line.strip() for line in printed if line.strip()]
        told = next((line for line in lines if line.startswith("** (")), lines[-1] if lines else "it said nothing")
        return (
            f"mix {' '.join(task)} ended with exit code {code}: {told}. Expected the packages of {self._name}; no "
            f"other runner needs them. All that Mix printed is in {self._log}; deadheat setup elixir goes on from what "
            "is there."
        )
