"""Languages without touching the system: Debian packages unpacked under .toolchains/, each with its own libraries.

A file `toolchains/<language>.toml` says which packages, how the language is started, and what version is enough.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import Field
from rich.console import Console

from collector.toolchains.cmake import BUILDS, BuildError, build_runner, find_build, known_builds
from collector.toolchains.debian import DebianError, fetch_packages, write_unpacked
from collector.toolchains.juliapkg import FinderError, find_by_juliapkg, is_finder_installed
from store.definition import Definition, content_hash, read_definition, unknown_name
from store.errors import DeadheatError

PROJECT = Path(__file__).resolve().parent.parent.parent
TOOLCHAINS = Path(__file__).parent
RUNNERS = Path(__file__).parent.parent / "runners"
UNPACKED = BUILDS
STAMP = ".deadheat-toolchain"
VERSION_TIMEOUT_S = 60.0


class ToolchainError(DeadheatError):
    """A toolchain that is unknown or cannot be had on this machine."""


class Toolchain(Definition):
    """What `toolchains/<language>.toml` says."""

    name: str
    title: str
    suite: str
    minimum_version: Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]
    version_arguments: list[str]
    version_pattern: str
    install: str
    through_juliapkg: bool = False  # where that package is installed, it is asked before Debian's archives
    packages: Annotated[list[str], Field(min_length=1)]
    preamble: str
    executables: Annotated[dict[str, str], Field(min_length=1)]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupResult:
    """How the set-up of one language ended."""

    language: str
    state: Literal["ready", "failed"]
    executable: Path | None
    version: str
    message: str


def known_toolchains(folder: Path = TOOLCHAINS) -> list[str]:
    """Return the languages that can be set up, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def known_languages(folder: Path = TOOLCHAINS, runners: Path = RUNNERS) -> list[str]:
    """Return everything that can be set up, sorted: languages to unpack, and those of runners that are compiled."""
    return sorted({*known_toolchains(folder), *map(_language, known_builds(runners))})


def read_toolchain(language: str, folder: Path = TOOLCHAINS) -> Toolchain:
    """Return the toolchain of `language`."""
    if language not in known_toolchains(folder):
        advice = f"Add collector/toolchains/{language}.toml or correct the name."
        raise ToolchainError(unknown_name("toolchain", language, known_toolchains(folder), advice))
    return read_definition(folder / f"{language}.toml", Toolchain, ToolchainError)


def find_toolchain(language: str, *, root: Path = PROJECT) -> Path | None:
    """Return the executable of `language`, or None.

    The one that `DEADHEAT_<LANGUAGE>` names comes first, then the one unpacked under `root`, then the one on the PATH.
    """
    if named := os.environ.get(_variable(language)):
        return Path(named)
    unpacked = root / UNPACKED / "bin" / language
    if unpacked.exists():
        return unpacked
    found = shutil.which(language)
    return Path(found) if found else None


def probe_version(toolchain: Toolchain, executable: Path) -> str:
    """Return the version that `executable` prints, or '' when it does not run or prints none."""
    command = [str(executable), *toolchain.version_arguments]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(toolchain.version_pattern, answer.stdout)
    return match[1] if match and answer.returncode == 0 else ""


def is_new_enough(version: str, minimum: str) -> bool:
    """Return whether dotted `version` is at least `minimum`; '' never is."""
    return bool(version) and _numbers(version) >= _numbers(minimum)


def setup_toolchains(
    languages: Sequence[str],
    *,
    root: Path = PROJECT,
    console: Console | None = None,
    folder: Path = TOOLCHAINS,
    runners: Path = RUNNERS,
) -> list[SetupResult]:
    """Make each of `languages` usable and say how that ended; one that cannot be had does not stop the others.

    Parameters
    ----------
    languages
        Names of files in `folder`, or languages of compiled runners; an unknown name raises before anything is done.
    root
        The project: packages are unpacked under `<root>/.toolchains`.
    console
        Where progress goes; standard error if not given.
    """
    console = console or Console(stderr=True)
    compiled = [name for name in known_builds(runners) if _language(name) in languages]
    toolchains = [read_toolchain(name, folder) for name in languages if name not in map(_language, compiled)]
    unpacked = [_setup(toolchain, root, console) for toolchain in toolchains]
    return [*unpacked, *(_setup_build(runners / name, root, console) for name in compiled)]


def wrapper_text(toolchain: Toolchain, executable: str, machine: str) -> str:
    """Return the shell script that starts `executable` with its own libraries, wherever the project has moved."""
    lines = [
        "#!/bin/sh",
        f"# Made by `deadheat setup {toolchain.name}`.",
        'bin=$(cd "${0%/*}" && pwd)',
        f'root="${{bin%/bin}}/{toolchain.name}"',
        *toolchain.preamble.strip().splitlines(),
        *(f'export {name}="{value}"' for name, value in toolchain.environment.items()),
        f'exec "$root/{executable}" "$@"',
    ]
    return "\n".join(lines).replace("{multiarch}", f"{machine}-linux-gnu") + "\n"


def _setup(toolchain: Toolchain, root: Path, console: Console) -> SetupResult:
    try:
        if named := os.environ.get(_variable(toolchain.name)):
            return _named(toolchain, Path(named))
        return _ready(toolchain, root) or _install(toolchain, root, console)
    except ToolchainError as reason:
        return SetupResult(language=toolchain.name, state="failed", executable=None, version="", message=str(reason))


def _setup_build(source: Path, root: Path, console: Console) -> SetupResult:
    try:
        if home := find_build(source, root=root):
            return _built(source, home, "built before")
        console.print(
            f"{source.name}: building, which takes some minutes the first time", highlight=False, markup=False
        )
        return _built(source, build_runner(source, root=root), "built with the system's compiler")
    except BuildError as reason:
        return SetupResult(language=source.name, state="failed", executable=None, version="", message=str(reason))


def _built(source: Path, home: Path, message: str) -> SetupResult:
    return SetupResult(language=source.name, state="ready", executable=home / source.name, version="", message=message)


def _language(runner: str) -> str:
    return runner.partition("_")[0]


def _ready(toolchain: Toolchain, root: Path) -> SetupResult | None:
    """Return what is there already: unpacked from these very packages, or new enough on the PATH."""
    unpacked = root / UNPACKED / "bin" / toolchain.name
    if unpacked.is_symlink() and (ready := _tried(toolchain, unpacked, "found by juliapkg before")):
        return ready
    if _is_current(toolchain, root) and (ready := _tried(toolchain, unpacked, "unpacked before")):
        return ready
    found = shutil.which(toolchain.name)
    return _tried(toolchain, Path(found), "found on the PATH") if found else None


def _variable(language: str) -> str:
    return f"DEADHEAT_{language.upper()}"


def _named(toolchain: Toolchain, executable: Path) -> SetupResult:
    """Return the executable that a person has named as ready; nothing is looked for beside it."""
    variable = _variable(toolchain.name)
    if ready := _tried(toolchain, executable, f"named by {variable}"):
        return ready
    version = probe_version(toolchain, executable)
    found = f"is {toolchain.title} {version}" if version else f"does not start as {toolchain.title}"
    raise ToolchainError(
        f"{variable}: {executable} {found}; expected {toolchain.title} {toolchain.minimum_version} or newer. "
        f"Correct it, or unset it to use another one."
    )


def _tried(toolchain: Toolchain, executable: Path, message: str) -> SetupResult | None:
    """Return `executable` as ready when it starts and is new enough."""
    version = probe_version(toolchain, executable)
    if not is_new_enough(version, toolchain.minimum_version):
        return None
    return SetupResult(language=toolchain.name, state="ready", executable=executable, version=version, message=message)


def _install(toolchain: Toolchain, root: Path, console: Console) -> SetupResult:
    """Download and unpack, unless another process just did."""
    home = root / UNPACKED
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "setup.lock"):
            return _ready(toolchain, root) or _install_locked(toolchain, home, console)
    except DebianError as reason:
        raise _unobtainable(toolchain, f"this machine's packages do not give it ({reason})") from None
    except OSError as reason:
        advice = "Free about 500 MB there, or move the project to where you may write."
        raise ToolchainError(
            f"{home}: {reason.strerror}; expected to unpack {toolchain.title} here. {advice}"
        ) from None


def _install_locked(toolchain: Toolchain, home: Path, console: Console) -> SetupResult:
    """Unpack and try the toolchain beside its place, and move it there only when it starts."""
    for left_over in home.glob(".tmp-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    if toolchain.through_juliapkg and is_finder_installed():
        if ready := _through_juliapkg(toolchain, home, console):
            return ready
        console.print(f"{toolchain.name}: going on with the packages of {toolchain.suite}", highlight=False)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=home) as name:
        work = Path(name)
        packages = work / "packages"
        fetch_packages(toolchain.suite, toolchain.packages, packages, console=console, label=toolchain.name)
        write_unpacked(packages, work / toolchain.name)
        (work / toolchain.name / STAMP).write_text(_fingerprint(toolchain), encoding="ascii")
        _write_wrappers(toolchain, work)
        result = _tried(toolchain, work / "bin" / toolchain.name, "")
        if result is None:
            raise _unobtainable(toolchain, f"the packages of {toolchain.suite} do not start on this machine")
        _publish_unpacked(toolchain, work, home)
    message = f"unpacked from the packages of {toolchain.suite}; the system's own are as they were"
    return dataclasses.replace(result, executable=home / "bin" / toolchain.name, message=message)


def _through_juliapkg(toolchain: Toolchain, home: Path, console: Console) -> SetupResult | None:
    """Link to what juliapkg finds or downloads; say why where it gives nothing."""
    try:
        found = find_by_juliapkg(toolchain.minimum_version, home / "juliapkg", console)
    except FinderError as reason:
        console.print(f"{toolchain.name}: {reason}", soft_wrap=True, highlight=False, markup=False)
        return None
    (home / "bin").mkdir(exist_ok=True)
    link = home / "bin" / toolchain.name
    link.unlink(missing_ok=True)
    link.symlink_to(found)
    return _tried(toolchain, link, f"found by juliapkg: {found}")


def _write_wrappers(toolchain: Toolchain, home: Path) -> None:
    """Write `<home>/bin/<executable>` for each executable unpacked in `<home>/<language>`."""
    (home / "bin").mkdir()
    for name, pattern in toolchain.executables.items():
        found = sorted((home / toolchain.name).glob(pattern))
        if not found:
            raise _unobtainable(toolchain, f"the packages of {toolchain.suite} hold no {pattern}")
        executable = str(found[-1].relative_to(home / toolchain.name))
        wrapper = home / "bin" / name
        wrapper.write_text(wrapper_text(toolchain, executable, platform.machine()), encoding="utf-8")
        wrapper.chmod(0o755)


def _publish_unpacked(toolchain: Toolchain, work: Path, home: Path) -> None:
    place = home / toolchain.name
    if place.exists():
        place.rename(work / "previous")
    (work / toolchain.name).rename(place)
    (home / "bin").mkdir(exist_ok=True)
    for wrapper in (work / "bin").iterdir():
        wrapper.replace(home / "bin" / wrapper.name)


def _is_current(toolchain: Toolchain, root: Path) -> bool:
    stamp = root / UNPACKED / toolchain.name / STAMP
    return stamp.exists() and stamp.read_text(encoding="ascii") == _fingerprint(toolchain)


def _fingerprint(toolchain: Toolchain) -> str:
    return content_hash(toolchain.model_dump_json(), platform.machine())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _unobtainable(toolchain: Toolchain, reason: str) -> ToolchainError:
    return ToolchainError(
        f"{toolchain.title}: {reason}; expected {toolchain.title} {toolchain.minimum_version} or newer on the PATH, "
        f"or Debian {toolchain.suite} among the archives that apt uses. {toolchain.install}"
    )
