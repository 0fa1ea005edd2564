"""Data sets: definitions, the cache, and each kind of source, with real sockets and fake clients on PATH."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.cli.data_commands import data_app
from collector.datasets.dataset import (
    Dataset,
    DatasetError,
    dataset_folder,
    default_cache,
    fetch_dataset,
    known_datasets,
    probe_dataset,
    read_dataset,
)
from collector.datasets.files import DataFiles
from collector.datasets.source import ArchiveSource, DebianSource, FolderSource, NpmSource, UrlSource

MD5_OF_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CONTENT = {
    "train-images": bytes(range(256)) * 400,
    "train-labels": b"\1\2\3" * 40,
    "test-images": b"pixels" * 500,
    "test-labels": b"\7" * 11,
}


def raw_file(name: str, content: bytes) -> dict[str, str | int]:
    """Return the description of a file."""
    sums = {"md5": hashlib.md5(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
    return {"name": name, "size_bytes": len(content), **sums}


def definition(**changes: object) -> Dataset:
    """Return a tiny data set whose files are CONTENT and whose only source is DEADHEAT_DATA."""
    files = [raw_file(name, content) for name, content in CONTENT.items()]
    values: dict[str, object] = {
        "name": "tiny",
        "title": "Tiny",
        "licence": "none",
        "citation": "none",
        "format": "idx",
        "image_shape": [1, 2, 2],
        "classes": 10,
        "train_examples": 4,
        "test_examples": 2,
        "mean": [0.5],
        "std": [0.25],
        "files": {"train": files[:2], "test": files[2:]},
        "sources": [{"kind": "folder"}],
    }
    return Dataset.model_validate(values | changes)


def write_content(folder: Path, *, compressed: bool = False) -> Path:
    """Write CONTENT into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    return folder


def content_of(files: DataFiles) -> list[bytes]:
    """Return what the four files hold."""
    return [path.read_bytes() for path in (*files.train, *files.test)]


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """Return a cache that holds the tiny data set."""
    cache = tmp_path / "cache"
    fetch_dataset(definition(), cache=cache, sources=[folder_source(write_content(tmp_path / "given"))])
    return cache


def folder_source(path: Path) -> FolderSource:
    """Return a local folder as a source."""
    return FolderSource(kind="folder", path=str(path))


class Server:
    """A web server on the loopback interface that serves bytes by path and does what a test wants wrong."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[tuple[str, str | None]] = []
        self.failures: list[int] = []  # statuses to answer first
        self.break_after: list[int] = []  # bytes after which the connection ends, per request
        self.ranges = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def source(self) -> UrlSource:
        """Return this server as a source of compressed files."""
        port = self.http.server_address[1]
        return UrlSource(kind="url", address=f"http://127.0.0.1:{port}/tiny", compression="gz")

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        content = self.files.get(request.path)
        status = self.failures.pop(0) if self.failures else (200 if content is not None else 404)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if status == 200 and content is not None and start >= len(content):
            status = 416
        body = content[start:] if status == 200 and content is not None else b""
        request.send_response(206 if status == 200 and start else status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        limit = self.break_after.pop(0) if self.break_after else len(body)
        request.wfile.write(body[:limit])

    def close(self) -> None:
        """Stop."""
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that has every file of the tiny data set, compressed."""
    running = Server({f"/tiny/{name}.gz": gzip.compress(content) for name, content in CONTENT.items()})
    yield running
    running.close()


@pytest.fixture
def fake_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return a function that puts a shell script in front of everything else on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def test_the_definition_of_mnist_holds_the_published_sums() -> None:
    """The sums in the file are those of the audit."""
    mnist = read_dataset("mnist")

    assert {file.name: file.md5 for file in mnist.files.all()} == MD5_OF_MNIST
    assert mnist.size_bytes == 16 + 60_000 * 784 + 8 + 60_000 + 16 + 10_000 * 784 + 8 + 10_000
    assert [source.kind for source in mnist.sources] == ["folder", "url", "url", "npm"]


@pytest.mark.parametrize("name", known_datasets())
def test_every_definition_that_ships_can_be_read(name: str) -> None:
    """No file in collector/datasets is wrong."""
    assert read_dataset(name).name == name


def test_an_unknown_data_set_is_named_with_its_nearest_neighbour() -> None:
    """A misspelt name gets a hint."""
    with pytest.raises(DatasetError, match=r"'mnits' is not a known data set; .*Did you mean 'mnist'\?"):
        read_dataset("mnits")


@pytest.mark.parametrize("name", ["../datasets/mnist", "", "mnist.toml"])
def test_a_name_that_is_a_path_is_unknown(name: str) -> None:
    """Nothing outside the folder of definitions is read."""
    with pytest.raises(DatasetError, match="is not a known data set"):
        read_dataset(name)


def test_an_unknown_kind_of_source_is_refused_where_it_stands(tmp_path: Path) -> None:
    """The message names file and key."""
    text = (Path(__file__).parents[3] / "collector/datasets/mnist.toml").read_text()
    (tmp_path / "mnist.toml").write_text(text.replace('kind = "npm"', 'kind = "pigeon"'))

    with pytest.raises(DatasetError, match=r"mnist\.toml: sources\.3.*pigeon"):
        read_dataset("mnist", tmp_path)


def test_a_data_set_that_was_not_fetched_says_how_to_get_it(tmp_path: Path) -> None:
    """The remedy is a command."""
    with pytest.raises(DatasetError, match=r"tiny: is not in .*Get them: deadheat data fetch tiny"):
        probe_dataset(definition(), tmp_path)


def test_what_a_folder_gives_is_what_a_probe_finds(cached: Path) -> None:
    """Fetch, then probe: the same files with the right content."""
    files = probe_dataset(definition(), cached)

    assert content_of(files) == list(CONTENT.values())


def test_a_folder_may_hold_compressed_files(tmp_path: Path) -> None:
    """Files that end in .gz are unpacked."""
    source = folder_source(write_content(tmp_path / "given", compressed=True))

    files = fetch_dataset(definition(), cache=tmp_path, sources=[source])

    assert content_of(files) == list(CONTENT.values())


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEADHEAT_DATA is the folder of a source that has no path of its own."""
    monkeypatch.setenv("DEADHEAT_DATA", str(write_content(tmp_path / "given")))

    files = fetch_dataset(definition(), cache=tmp_path / "cache")

    assert content_of(files) == list(CONTENT.values())


def test_a_truncated_file_in_the_cache_is_named_with_both_sizes(cached: Path) -> None:
    """What it has, what was expected, what repairs it."""
    path = dataset_folder(definition(), cached) / "train-images"
    path.write_bytes(CONTENT["train-images"][:1000])

    with pytest.raises(DatasetError, match=r"train-images: has 1000 bytes; expected 102400.*deadheat data fetch tiny"):
        probe_dataset(definition(), cached)


def test_a_changed_file_in_the_cache_is_named_with_both_sums(cached: Path) -> None:
    """The same size is not enough."""
    path = dataset_folder(definition(), cached) / "test-labels"
    path.write_bytes(b"\6" * 11)

    with pytest.raises(
        DatasetError, match=rf"test-labels: sha256 is \w+; expected {definition().files.test[1].sha256}"
    ):
        probe_dataset(definition(), cached)


def test_a_file_that_vanished_from_the_cache_is_named(cached: Path) -> None:
    """The others being there does not hide it."""
    (dataset_folder(definition(), cached) / "test-images").unlink()

    with pytest.raises(DatasetError, match="test-images: is missing"):
        probe_dataset(definition(), cached)


def test_a_verified_file_is_not_read_again(cached: Path) -> None:
    """A change that keeps size and modification date shows that only those are looked at; fetch looks closer."""
    path = dataset_folder(definition(), cached) / "test-labels"
    before = path.stat()
    path.write_bytes(b"\6" * 11)
    _set_modified(path, before.st_mtime_ns)

    probe_dataset(definition(), cached)

    with pytest.raises(DatasetError, match="could not fetch test-labels"):
        fetch_dataset(definition(), cache=cached, sources=[])


def _set_modified(path: Path, mtime_ns: int) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_a_marker_that_is_damaged_only_costs_a_full_verification(cached: Path) -> None:
    """Half a marker is no error."""
    marker = dataset_folder(definition(), cached) / "verified.json"
    marker.write_text('{"train-ima')

    probe_dataset(definition(), cached)

    assert json.loads(marker.read_text()).keys() == CONTENT.keys()


def test_fetch_replaces_what_is_damaged_and_nothing_else(cached: Path, server: Server) -> None:
    """Only the damaged file is asked for."""
    folder = dataset_folder(definition(), cached)
    (folder / "train-labels").write_bytes(b"nonsense")

    files = fetch_dataset(definition(), cache=cached, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())
    assert [path for path, _ in server.requests] == ["/tiny/train-labels.gz"]


def test_a_complete_cache_asks_no_source(cached: Path, server: Server) -> None:
    """A second fetch verifies and stays at home."""
    fetch_dataset(definition(), cache=cached, sources=[server.source()])

    assert server.requests == []


def test_files_come_from_an_address(tmp_path: Path, server: Server) -> None:
    """The files are unpacked, verified, and nothing else is left behind."""
    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())
    left = {path.name for path in files.train[0].parent.iterdir()}
    assert left - {".lock"} == {*CONTENT, "verified.json"}


def test_a_broken_connection_goes_on_where_it_stopped(tmp_path: Path, server: Server) -> None:
    """The second request asks for the rest only."""
    server.break_after = [100]

    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())
    assert server.requests[:2] == [("/tiny/train-images.gz", None), ("/tiny/train-images.gz", "bytes=100-")]


def test_a_part_left_by_an_earlier_fetch_is_gone_on_with(tmp_path: Path, server: Server) -> None:
    """Breaking off for good keeps the part; the next fetch asks for the rest."""
    server.break_after = [100, 0, 0, 0]
    with pytest.raises(DatasetError, match="broke off after 100 bytes"):
        fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])
    server.requests.clear()

    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())
    assert server.requests[0] == ("/tiny/train-images.gz", "bytes=100-")


def test_a_server_without_ranges_sends_the_whole_again(tmp_path: Path, server: Server) -> None:
    """An answer of 200 to a request for the rest replaces the part."""
    server.break_after, server.ranges = [100], False

    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())


@pytest.mark.parametrize(
    "part", [b"not what the server has", gzip.compress(CONTENT["train-images"])], ids=["wrong", "whole"]
)
def test_a_part_that_is_wrong_or_already_whole_does_no_harm(tmp_path: Path, server: Server, part: bytes) -> None:
    """A wrong part is thrown away and fetched anew; a whole one is used."""
    server.break_after = [0, 0, 0, 0]
    with pytest.raises(DatasetError):
        fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])
    (left,) = dataset_folder(definition(), tmp_path).glob(".train-images.*.part")
    left.write_bytes(part)

    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())


def test_an_overloaded_server_is_asked_again(tmp_path: Path, server: Server) -> None:
    """HTTP 503 passes."""
    server.failures = [503, 503]

    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    assert content_of(files) == list(CONTENT.values())


def test_a_wrong_sum_is_reported_and_the_file_is_not_kept(tmp_path: Path, server: Server) -> None:
    """The damaged file never gets its name."""
    server.files["/tiny/test-labels.gz"] = gzip.compress(b"\6" * 11)

    with pytest.raises(DatasetError, match=r"test-labels: sha256 is \w+; expected \w+"):
        fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])

    left = {path.name for path in dataset_folder(definition(), tmp_path).iterdir()}
    assert left - {".lock"} == CONTENT.keys() - {"test-labels"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(CONTENT["test-labels"])[:-4], "is not a whole gzip file"),
        (b"<html>not found</html>", "is not a whole gzip file"),
        (gzip.compress(b"\7" * 5), r"has 5 bytes; expected 11"),
        (gzip.compress(b"\7" * 5000), r"has more bytes; expected 11"),
    ],
    ids=["cut", "page", "short", "long"],
)
def test_a_body_that_is_not_the_file_says_why(tmp_path: Path, server: Server, body: bytes, reason: str) -> None:
    """Truncated, an error page, too short, too long."""
    server.files["/tiny/test-labels.gz"] = body

    with pytest.raises(DatasetError, match=reason):
        fetch_dataset(definition(), cache=tmp_path, sources=[server.source()])


def test_the_next_source_gives_what_the_first_did_not(tmp_path: Path, server: Server) -> None:
    """Files that the first source gave are kept."""
    del server.files["/tiny/test-images.gz"]
    second = folder_source(write_content(tmp_path / "given"))

    files = fetch_dataset(definition(), cache=tmp_path, sources=[server.source(), second])

    assert content_of(files) == list(CONTENT.values())


def test_a_fetch_that_fails_lists_each_source_and_why(
    tmp_path: Path, server: Server, fake_client: Callable[[str, str], Path]
) -> None:
    """One line per source, then what to do."""
    fake_client("npm", "echo 'npm error code E404' >&2; exit 1")
    fake_client("apt-get", "echo 'E: Unable to locate package dataset-tiny' >&2; exit 100")
    server.files.clear()
    sources = [
        folder_source(tmp_path / "nowhere"),
        server.source(),
        UrlSource(kind="url", address="http://127.0.0.1:1/tiny", compression="gz"),
        NpmSource(kind="npm", package="tiny@1", folder="data", compression="none"),
        DebianSource(kind="debian", package="dataset-tiny", folder="usr", compression="none"),
    ]

    with pytest.raises(DatasetError) as failure:
        fetch_dataset(definition(), cache=tmp_path, sources=sources)

    text = str(failure.value)
    for reason in ("nowhere is not a folder", "HTTP 404", "cannot connect", "npm error code E404", "Unable to locate"):
        assert reason in text
    assert "could not fetch train-images, train-labels, test-images, test-labels" in text
    assert text.endswith("deadheat data fetch tiny --from FOLDER")


def test_an_address_that_cannot_be_reached_does_not_delay(tmp_path: Path) -> None:
    """A closed port is no reason to wait or to try again."""
    closed = UrlSource(kind="url", address="http://127.0.0.1:1/tiny", compression="gz")
    start = time.monotonic()

    fetch_dataset(definition(), cache=tmp_path, sources=[closed, folder_source(write_content(tmp_path / "given"))])

    assert time.monotonic() - start < 3


def npm_package(folder: Path, members: dict[str, bytes]) -> Path:
    """Return a package as `npm pack` leaves it, with `members` by their path in it."""
    package = folder / "tiny-1.2.3.tgz"
    package.write_bytes(tar_gz({f"package/{name}": content for name, content in members.items()}))
    return package


def tar_gz(members: dict[str, bytes]) -> bytes:
    """Return a compressed archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive_source(server: Server) -> ArchiveSource:
    """Return what the server has as tiny.tar.gz, its files in the folder tiny-binary."""
    return ArchiveSource(kind="archive", address=f"{server.source().address}.tar.gz", folder="tiny-binary")


def test_files_come_from_an_archive_at_an_address(tmp_path: Path, server: Server) -> None:
    """One request brings them all, a broken connection goes on, and neither archive nor work folder stays."""
    archive = tar_gz({f"tiny-binary/{name}": content for name, content in CONTENT.items()})
    server.files = {"/tiny.tar.gz": archive}
    server.break_after = [100]

    files = fetch_dataset(definition(), cache=tmp_path, sources=[archive_source(server)])

    assert content_of(files) == list(CONTENT.values())
    assert server.requests == [("/tiny.tar.gz", None), ("/tiny.tar.gz", "bytes=100-")]
    left = {path.name for path in files.train[0].parent.iterdir()}
    assert left - {".lock"} == {*CONTENT, "verified.json"}


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"<html>not found</html>", "is not a whole archive"),
        (tar_gz({f"tiny-binary/{name}": random.Random(1).randbytes(9000) for name in CONTENT})[:-900], "whole archive"),
        (tar_gz({f"elsewhere/{name}": content for name, content in CONTENT.items()}), "has no train-images"),
        (tar_gz({"tiny-binary/train-images": b"changed"}), "train-images: has 7 bytes; expected 102400"),
    ],
)
def test_an_archive_that_is_wrong_says_why(tmp_path: Path, server: Server, archive: bytes, reason: str) -> None:
    """An error page, half of it, another folder, another file; nothing of it is kept."""
    server.files = {"/tiny.tar.gz": archive}

    with pytest.raises(DatasetError, match=reason):
        fetch_dataset(definition(), cache=tmp_path, sources=[archive_source(server)])

    assert {path.name for path in dataset_folder(definition(), tmp_path).iterdir()} <= {".lock"}


def test_files_come_from_an_npm_package(tmp_path: Path, fake_client: Callable[[str, str], Path]) -> None:
    """The ordinary client packs it; members are found under the package's folder."""
    package = npm_package(tmp_path, {f"data/{name}": content for name, content in CONTENT.items()})
    fake_client("npm", f'[ "$1 $2" = "pack tiny@1.2.3" ] && cp {package} .')
    source = NpmSource(kind="npm", package="tiny@1.2.3", folder="data", compression="none")

    files = fetch_dataset(definition(), cache=tmp_path / "cache", sources=[source])

    assert content_of(files) == list(CONTENT.values())
    assert not (files.train[0].parent / ".work").exists()


def test_files_come_from_a_debian_package(tmp_path: Path, fake_client: Callable[[str, str], Path]) -> None:
    """apt-get downloads it, the real dpkg-deb unpacks it, nothing is installed."""
    package = _debian_package(tmp_path)
    fake_client("apt-get", f'[ "$1 $2" = "download dataset-tiny" ] && cp {package} .')
    source = DebianSource(kind="debian", package="dataset-tiny", folder="usr/share/datasets/tiny", compression="gz")

    files = fetch_dataset(definition(), cache=tmp_path / "cache", sources=[source])

    assert content_of(files) == list(CONTENT.values())


def _debian_package(folder: Path) -> Path:
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is not installed")
    root = folder / "root"
    write_content(root / "usr/share/datasets/tiny", compressed=True)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: dataset-tiny\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
        "Description: tiny\n"
    )
    package = folder / "dataset-tiny_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", root, package], check=True, capture_output=True)
    return package


def test_an_npm_package_that_is_cut_short_says_so(tmp_path: Path, fake_client: Callable[[str, str], Path]) -> None:
    """Half an archive is a reason, not a traceback."""
    package = npm_package(tmp_path, {"data/train-images": random.Random(1).randbytes(9000)})
    package.write_bytes(package.read_bytes()[:4000])
    fake_client("npm", f"cp {package} .")
    source = NpmSource(kind="npm", package="tiny@1.2.3", folder="data", compression="none")

    with pytest.raises(DatasetError, match="is not a whole archive"):
        fetch_dataset(definition(), cache=tmp_path / "cache", sources=[source])


def test_a_client_that_is_not_installed_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    source = NpmSource(kind="npm", package="tiny@1", folder="data", compression="none")

    with pytest.raises(DatasetError, match="npm package tiny@1: npm is not installed"):
        fetch_dataset(definition(), cache=tmp_path, sources=[source])


def test_two_fetches_at_once_fetch_each_file_once(tmp_path: Path, server: Server) -> None:
    """The second waits for the first, then finds everything."""
    found: list[DataFiles] = []
    fetches = [
        threading.Thread(
            target=lambda: found.append(fetch_dataset(definition(), cache=tmp_path, sources=[server.source()]))
        )
        for _ in range(3)
    ]

    for thread in fetches:
        thread.start()
    for thread in fetches:
        thread.join()

    assert len(found) == 3
    assert sorted(path for path, _ in server.requests) == sorted(server.files)


def test_progress_is_told_in_bytes(tmp_path: Path, server: Server) -> None:
    """The last report of each file is its whole."""
    told: dict[str, tuple[int, int | None]] = {}

    fetch_dataset(
        definition(),
        cache=tmp_path,
        sources=[server.source()],
        report=lambda what, done, total: told.update({what: (done, total)}),
    )

    sizes = {name: len(server.files[f"/tiny/{name}.gz"]) for name in CONTENT}
    assert told == {name: (size, size) for name, size in sizes.items()}


def test_a_cache_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    """The remedy names the variable."""
    (tmp_path / "cache").write_text("")

    with pytest.raises(DatasetError, match="expected a cache that can be written.*DEADHEAT_CACHE"):
        fetch_dataset(definition(), cache=tmp_path / "cache", sources=[])


def test_the_list_shows_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, size, licence, citation and place of each data set, in every format."""
    monkeypatch.setenv("DEADHEAT_CACHE", str(tmp_path))
    runner = CliRunner()

    rows = {row["name"]: row for row in json.loads(runner.invoke(data_app, ["list", "--format", "json"]).stdout)}

    assert list(rows) == known_datasets()
    mnist = rows["mnist"]
    assert (mnist["state"], mnist["size_bytes"], mnist["licence"]) == ("absent", 54_950_048, "CC BY-SA 3.0")
    assert "LeCun" in mnist["citation"]
    assert mnist["folder"] == str(tmp_path / "datasets" / "mnist")
    assert "absent" in runner.invoke(data_app, ["list"]).stdout
    assert runner.invoke(data_app, ["list", "--format", "csv"]).stdout.startswith("name,state,size_bytes")


def test_several_data_sets_are_fetched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The synthetic one comes from no network; the second time it is only verified. A wrong name fetches nothing."""
    monkeypatch.setenv("DEADHEAT_CACHE", str(tmp_path))
    runner = CliRunner()

    wrong = runner.invoke(data_app, ["fetch", "synthetic_imagenet", "mnits"])
    assert isinstance(wrong.exception, DatasetError)
    assert not (tmp_path / "datasets").exists()

    for _ in range(2):
        result = runner.invoke(data_app, ["fetch", "synthetic_imagenet"])
        assert result.exit_code == 0
        assert "synthetic_imagenet: verified in" in result.stdout


def test_a_fetch_from_a_wrong_folder_tells_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name or --all is needed, and only one of them."""
    monkeypatch.setenv("DEADHEAT_CACHE", str(tmp_path))
    runner = CliRunner()

    for arguments in ([], ["mnist", "--all"]):
        result = runner.invoke(data_app, ["fetch", *arguments])
        assert isinstance(result.exception, DatasetError)
        assert "expected names or --all" in str(result.exception)


@pytest.mark.parametrize("variable", ["DEADHEAT_CACHE", "XDG_CACHE_HOME"])
def test_the_cache_may_lie_in_the_home_folder_by_its_sign(tmp_path: Path, monkeypatch, variable: str):
    """No shell expands what a workflow sets."""
    monkeypatch.delenv("DEADHEAT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/kept")

    assert default_cache().is_relative_to(tmp_path / "kept")


def test_without_a_home_folder_the_cache_must_be_named(monkeypatch):
    """One line that says in which variable."""
    for variable in ("DEADHEAT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))

    with pytest.raises(DatasetError, match="Name a folder in DEADHEAT_CACHE or XDG_CACHE_HOME"):
        default_cache()
