"""Getting the packages of Elixir's runners: what is said before, what is shown, what a failure names."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from collector.plan.roster import describe_lines
from collector.plan.runner import RUNNERS
from collector.toolchains.mix import (
    Downloads,
    chosen_backends,
    mix_runners,
    setup_packages,
    size_bytes,
)
from collector.toolchains.toolchain import ToolchainError
from store.definition import read_definition

# An Elixir as far as it is asked: its version, and the tasks of Mix.
ELIXIR = """#!/bin/sh
case "$*" in
    --version) echo "Elixir ${FAKE_VERSION:-1.18.4} (compiled with Erlang/OTP 27)" ;;
    *local*) echo "* creating $HEX_HOME" ;;
    *hex.repo*) echo "| URL                    | Auth key |"; echo "| $FAKE_REPOSITORY |          |" ;;
    *deps.get*)
        echo "Resolving $DEADHEAT_AXON_BACKENDS for $MIX_ENV in $PWD"
        test -z "$FAKE_MIX_FAILS" || { echo "** (Mix) $FAKE_MIX_FAILS"; echo "after it"; exit 1; } ;;
    *--describe*) echo '{"language": "Elixir", "framework_version": "0.8.1", "devices": ["cpu"]}' ;;
esac
"""
RUNNER = """
name = "elixir_wing"
language = "Elixir"
framework = "Wing"
class = "framework"
command = ["{elixir}"]
install = "deadheat setup elixir"
workloads = ["mnist_mlp"]
devices = ["cpu"]

[variants.default]
family = "wing"
default = true
"""


class Packages(BaseHTTPRequestHandler):
    """Answers HEAD: every file has 3 MB, and what is called missing is not there."""

    def do_HEAD(self) -> None:
        """Answer."""
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", "3000000")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Serve packages on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Packages) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def runners(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make one runner with packages, one without, and an Elixir that DEADHEAT_ELIXIR names."""
    wing = tmp_path / "runners" / "elixir_wing"
    wing.mkdir(parents=True)
    (wing / "mix.exs").touch()
    (wing / "runner.toml").write_text(RUNNER, encoding="utf-8")
    (wing / "downloads.toml").write_text(
        f'minimum_version = "1.17"\ndefault = ["exla"]\nalways = ["hex:axon-0.8.1"]\n'
        f'[backends]\nexla = ["{server}/xla.tar"]\nemlx = ["{server}/missing.tar"]\n',
        encoding="utf-8",
    )
    elixir = tmp_path / "elixir"
    elixir.write_text(ELIXIR, encoding="utf-8")
    elixir.chmod(0o755)
    monkeypatch.setenv("DEADHEAT_ELIXIR", str(elixir))
    monkeypatch.setenv("FAKE_REPOSITORY", server)
    monkeypatch.delenv("DEADHEAT_AXON_BACKENDS", raising=False)
    return wing.parent


def set_up(tmp_path: Path, runners: Path) -> tuple[str, str, str]:
    """Return the state, the message, and what was shown."""
    console = Console(file=io.StringIO(), width=200)
    [result] = setup_packages(root=tmp_path, runners=runners, console=console)
    return result.state, result.message, console.file.getvalue()


def test_the_size_is_told_first_then_mix_is_shown(tmp_path: Path, runners: Path):
    """What, how much and from where, before anything is downloaded; nothing is written into the runner's folder."""
    state, message, shown = set_up(tmp_path, runners)

    *hex_itself, told, last = shown.splitlines()
    assert told == "elixir_wing: downloading 2 files, 6 MB, for exla from 127.0.0.1"
    assert len(hex_itself) == 4
    assert last == f"elixir_wing: Resolving exla for prod in {runners}/elixir_wing"
    assert (state, message) == ("ready", f"packages for exla are in {tmp_path}/.toolchains/elixir_wing")
    assert (tmp_path / ".toolchains/elixir_wing/setup.log").read_text().count("\n") == 5
    assert not (runners / "elixir_wing/deps").exists()


def test_an_address_that_does_not_answer_is_named_with_who_needs_it(
    tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is downloaded; every other runner goes on."""
    monkeypatch.setenv("DEADHEAT_AXON_BACKENDS", "exla,emlx")

    state, message, shown = set_up(tmp_path, runners)

    assert state == "failed"
    assert "/missing.tar: Client error '404 Not Found'" in message
    assert "Expected the packages of elixir_wing there; no other runner needs them." in message
    assert "Resolving" not in shown


def test_a_repository_that_hex_does_not_tell_is_named(tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch):
    """No address is guessed."""
    monkeypatch.setenv("FAKE_REPOSITORY", "none")

    state, message, _ = set_up(tmp_path, runners)

    assert state == "failed"
    assert message.startswith("mix hex.repo show hexpm: got '| URL")


def test_no_network_names_the_address(server: str):
    """A refused connection is a reason, never a traceback."""
    with pytest.raises(ToolchainError, match=r"^http://127\.0\.0\.1:1/axon\.tar: .*[Cc]onnect"):
        size_bytes("http://127.0.0.1:1/axon.tar")

    assert size_bytes(f"{server}/axon.tar") == 3_000_000


def test_an_old_elixir_is_named_with_what_is_needed(tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch):
    """Debian's is too old for Nx; runners without packages keep it."""
    monkeypatch.setenv("FAKE_VERSION", "1.14.0")

    state, message, shown = set_up(tmp_path, runners)

    assert state == "failed"
    assert message.startswith(f"{os.environ['DEADHEAT_ELIXIR']} is Elixir 1.14.0; expected 1.17 or newer")
    assert shown == ""


def test_an_elixir_that_does_not_start_is_named(tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch):
    """A wrong path in the variable is told with the variable's name."""
    monkeypatch.setenv("DEADHEAT_ELIXIR", "/nowhere/elixir")

    _, message, _ = set_up(tmp_path, runners)

    assert message.startswith("/nowhere/elixir is Elixir of no version that could be read; expected 1.17 or newer")
    assert "DEADHEAT_ELIXIR" in message


def test_a_failure_of_mix_is_told_in_its_own_words(tmp_path: Path, runners: Path, monkeypatch: pytest.MonkeyPatch):
    """The first error counts, and all that was printed is kept."""
    monkeypatch.setenv("FAKE_MIX_FAILS", "httpc request failed with: nxdomain")

    state, message, _ = set_up(tmp_path, runners)

    assert state == "failed"
    assert "mix do deps.get + compile ended with exit code 1: ** (Mix) httpc request failed with: nxdomain" in message
    assert "after it" in (tmp_path / ".toolchains/elixir_wing/setup.log").read_text()


def test_an_unknown_backend_is_refused(runners: Path):
    """A misspelt name would otherwise be a missing backend later."""
    downloads = read_definition(runners / "elixir_wing/downloads.toml", Downloads, ToolchainError)

    assert chosen_backends(downloads, {}) == ["exla"]
    assert chosen_backends(downloads, {"DEADHEAT_AXON_BACKENDS": "emlx, exla,"}) == ["emlx", "exla"]
    with pytest.raises(ToolchainError, match="got 'torch'; expected names of exla, emlx"):
        chosen_backends(downloads, {"DEADHEAT_AXON_BACKENDS": "torch"})


def test_a_set_up_ends_with_what_the_runner_tells_of_itself(runners: Path, monkeypatch: pytest.MonkeyPatch):
    """Versions and devices, or the reason why not."""
    assert describe_lines("elixir", runners) == ["elixir_wing: language Elixir, framework_version 0.8.1; devices cpu"]
    monkeypatch.setenv("DEADHEAT_ELIXIR", "/nowhere/elixir")
    [line] = describe_lines("elixir", runners)
    assert line.startswith("elixir_wing: ")
    assert line.endswith("To install it: deadheat setup elixir")


def test_every_runner_with_packages_tells_where_they_come_from():
    """One address of a default backend at least, and no backend without one."""
    for name in mix_runners():
        downloads = read_definition(RUNNERS / name / "downloads.toml", Downloads, ToolchainError)

        assert set(downloads.default) <= set(downloads.backends)
        assert all(
            address.startswith(("https://", "hex:")) for group in downloads.backends.values() for address in group
        )
