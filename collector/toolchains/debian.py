"""Debian packages as files: downloaded by the machine's own apt, unpacked anywhere, never installed.

apt-get runs with a private root, so the system's lists, caches and packages stay as they are, and any user may do it.
Archives, proxies, logins and keys are those the machine is configured with; signatures are checked as always.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from store.errors import DeadheatError

PERMANENT = ("404", "does not have a Release file", "Unable to locate package", "NO_PUBKEY", "is not signed")


class DebianError(DeadheatError):
    """Packages that this machine's apt does not give."""


class TransientError(DebianError):
    """A failure of the network that may pass."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One package archive that the machine is configured to use."""

    address: str
    signed_by: str


def fetch_packages(suite: str, packages: Sequence[str], folder: Path, *, console: Console, label: str) -> None:
    """Download `packages` of `suite` into `folder` from the first of the machine's archives that has them.

    Raises
    ------
    DebianError
        Naming each archive that was tried and why it did not serve.
    """
    _check_tools()
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for archive in _read_archives():
        try:
            _fetch_from(archive, suite, packages, folder, console, label)
            return
        except DebianError as reason:
            reasons.append(f"{archive.address}: {reason}")
    raise DebianError("; ".join(reasons) or "apt is configured with no archive")


def write_unpacked(packages: Path, folder: Path) -> None:
    """Unpack every package that lies in `packages` into `folder`."""
    folder.mkdir()
    for package in sorted(packages.glob("*.deb")):
        _run_tool(["dpkg-deb", "-x", str(package), str(folder)])


def archives_of(targets: str) -> list[Archive]:
    """Return each archive once from lines `address<tab>key`; apt leaves `$(SIGNED_BY)` where there is no key."""
    pairs = (line.partition("\t")[::2] for line in targets.splitlines())
    archives = [Archive(address, "" if key.startswith("$(") else key.strip()) for address, key in pairs]
    return sorted(dict.fromkeys(archives), key=lambda archive: "security" in archive.address)


def source_line(suite: str, archive: Archive, architecture: str) -> str:
    """Return the line of sources.list. The list of a suite that is no longer updated may be past its date."""
    signed_by = f" signed-by={archive.signed_by}" if archive.signed_by else ""
    options = f"arch={architecture} target=Packages check-valid-until=no{signed_by}"
    return f"deb [{options}] {archive.address} {suite} main\n"


def apt_configuration(folder: Path) -> str:
    """Return settings, read after the machine's own, that keep apt inside `folder`."""
    settings = {
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Sandbox::User": "root",  # only matters to root: the user _apt may not reach the project's folder
        "APT::Update::Error-Mode": "any",  # else a list that could not be read is only a warning
        "Acquire::Languages": "none",
        "Acquire::Retries": 0,  # tenacity does that
        "Acquire::http::Timeout": 20,
        "Acquire::https::Timeout": 20,
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    # The machine's hooks after an update clean the system's caches, which are none of our business.
    return "\n".join(["#clear APT::Update;", *lines, ""])


def download_bytes(uris: str) -> int:
    """Return the sum of the sizes in what `apt-get download --print-uris` prints: 'address' name size hash."""
    lines = (shlex.split(line) for line in uris.splitlines() if line.startswith("'"))
    return sum(int(size_bytes) for _, _, size_bytes, *_ in lines)


def apt_error(errors: str) -> DebianError:
    """Return apt's standard error as an exception: transient unless another attempt cannot help."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    text = next((line for line in lines if line.startswith("E:")), lines[-1] if lines else "no message")
    return DebianError(text) if any(mark in errors for mark in PERMANENT) else TransientError(text)


def _check_tools() -> None:
    missing = [tool for tool in ("apt-get", "dpkg", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise DebianError(f"there is no {' and no '.join(missing)} here")


def _read_archives() -> list[Archive]:
    form = "$(REPO_URI)\t$(SIGNED_BY)"
    # Without --no-release-info apt names only archives whose lists it has read before; a fresh image has none.
    command = ["apt-get", "indextargets", "--no-release-info", "--format", form, "Created-By: Packages"]
    return archives_of(_run_tool(command))


def _fetch_from(
    archive: Archive, suite: str, packages: Sequence[str], folder: Path, console: Console, label: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="apt-", dir=folder) as name:
        root = Path(name)
        _write_apt_root(root, suite, archive)
        apt = ["apt-get", "-c", str(root / "apt.conf"), "-q"]
        console.print(f"{label}: reading the package list of {suite} from {archive.address}", soft_wrap=True)
        _with_retries(lambda: _run_apt([*apt, "update"], root))
        download = [*apt, "download", *packages]
        total_bytes = download_bytes(_run_apt([*download, "--print-uris"], root))
        console.print(f"{label}: downloading {len(packages)} packages, {total_bytes / 1e6:.0f} MB", soft_wrap=True)
        _download(download, folder, total_bytes, console, label)


def _write_apt_root(root: Path, suite: str, archive: Archive) -> None:
    for name in ("lists/partial", "cache/archives/partial"):
        (root / name).mkdir(parents=True)
    (root / "status").touch()
    architecture = _run_tool(["dpkg", "--print-architecture"]).strip()
    (root / "sources.list").write_text(source_line(suite, archive, architecture), encoding="utf-8")
    (root / "apt.conf").write_text(apt_configuration(root), encoding="utf-8")


def _download(command: Sequence[str], folder: Path, total_bytes: int, console: Console, label: str) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total_bytes)

        def show() -> None:
            progress.update(task, completed=_size_bytes(folder))

        _with_retries(lambda: _run_apt(command, folder, show))


def _run_apt(command: Sequence[str], folder: Path, show: Callable[[], None] = lambda: None) -> str:
    """Run apt-get in `folder`, calling `show` ten times a second, and return what it printed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors) as apt:
            while _is_running(apt):
                show()
        output.seek(0)
        errors.seek(0)
        if apt.returncode != 0:
            raise apt_error(errors.read())
        return output.read()


def _is_running(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)
    return process.returncode is None


def _size_bytes(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(_entry_bytes(entry) for entry in entries)


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(FileNotFoundError):  # apt renames a file when it is complete
        return entry.stat().st_size if entry.is_file() else 0
    return 0


def _with_retries(attempt: Callable[[], object]) -> None:
    retry = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(3),
        wait=wait_exponential(min=1, max=10),
        reraise=True,
    )
    retry(attempt)


def _run_tool(command: Sequence[str]) -> str:
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise DebianError(f"{command[0]} failed: {lines[-1]}")
    return answer.stdout
