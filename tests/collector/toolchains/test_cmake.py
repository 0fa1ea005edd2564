"""Runners that are compiled: built when something has changed, refused when they are out of date, never half there."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from collector.plan.runner import RunnerUnavailableError, read_runner, resolve_command
from collector.toolchains.cmake import BuildError, build_runner, find_build, known_builds, reason_unbuilt
from collector.toolchains.toolchain import known_languages, setup_toolchains

CMAKE = """
cmake_minimum_required(VERSION 3.25)
project(cpp_owl LANGUAGES CXX)
add_executable(cpp_owl owl.cpp)
"""
RUNNER = """
name = "cpp_owl"
language = "C++"
framework = "Owl"
class = "baseline"
command = ["{built}/cpp_owl"]
install = "make setup"
workloads = ["mnist_mlp"]
devices = ["cpu"]

[variants.default]
family = "owl"
default = true
"""

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here: apt-get install g++")


@pytest.fixture
def runners(tmp_path: Path) -> Path:
    """Return a folder of runners with one small program in it."""
    folder = tmp_path / "runners"
    source = folder / "cpp_owl"
    source.mkdir(parents=True)
    (source / "CMakeLists.txt").write_text(CMAKE)
    (source / "owl.cpp").write_text("int main() { return 0; }\n")
    (source / "requirements.txt").write_text("ninja==0\n")
    (source / "runner.toml").write_text(RUNNER)
    return folder


def test_a_folder_with_cmakes_list_is_a_runner_that_is_compiled(runners: Path):
    """Adding one is adding a folder; its language can be set up."""
    assert known_builds(runners) == ["cpp_owl"]
    assert "cpp" in known_languages(runners=runners)


@needs_compiler
def test_it_is_built_once_and_again_when_a_source_changes(runners: Path, tmp_path: Path):
    """A program of other sources than those that lie there is not found."""
    source = runners / "cpp_owl"
    assert find_build(source, root=tmp_path) is None

    home = build_runner(source, root=tmp_path)
    built_ns = (home / "cpp_owl").stat().st_mtime_ns
    assert find_build(source, root=tmp_path) == home == tmp_path / ".toolchains/cpp_owl"
    build_runner(source, root=tmp_path)
    assert (home / "cpp_owl").stat().st_mtime_ns == built_ns

    (source / "owl.cpp").write_text("int main() { return 3; }\n")
    assert find_build(source, root=tmp_path) is None
    build_runner(source, root=tmp_path)
    assert (home / "cpp_owl").stat().st_mtime_ns > built_ns


@needs_compiler
def test_other_packages_begin_the_build_anew(runners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A newer library whose files bear older dates is noticed all the same."""
    source = runners / "cpp_owl"
    home = build_runner(source, root=tmp_path)
    (home / "left_over").touch()

    monkeypatch.setattr("collector.toolchains.cmake.version", lambda _: "another")

    assert find_build(source, root=tmp_path) is None
    build_runner(source, root=tmp_path)
    assert find_build(source, root=tmp_path) == home
    assert not (home / "left_over").exists()


@needs_compiler
def test_a_build_that_fails_says_why_and_is_not_there(runners: Path, tmp_path: Path):
    """The first error of the compiler is the message; the program of earlier sources is not run."""
    source = runners / "cpp_owl"
    build_runner(source, root=tmp_path)
    (source / "owl.cpp").write_text("int main() { return owl; }\n")

    with pytest.raises(BuildError, match=r"the build failed: .*'owl' was not declared.*build\.log"):
        build_runner(source, root=tmp_path)

    assert find_build(source, root=tmp_path) is None


def test_without_a_compiler_the_set_up_goes_on_and_says_what_to_install(
    runners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is one result among others, and the same words stand where the runner is asked for."""
    monkeypatch.setenv("PATH", str(tmp_path))

    [result] = setup_toolchains(["cpp"], root=tmp_path, console=Console(file=io.StringIO()), runners=runners)

    assert (result.language, result.state) == ("cpp_owl", "failed")
    assert result.message.endswith("there is no C++ compiler g++ here; install it with: apt-get install g++")
    assert reason_unbuilt().endswith("apt-get install g++")


def test_a_runner_that_is_not_built_is_unavailable(runners: Path):
    """Unavailable with the remedy: never an error of the whole."""
    with pytest.raises(RunnerUnavailableError, match="cpp_owl: it is not built from.*To install it: make setup"):
        resolve_command(read_runner("cpp_owl", runners), threads=1, folder=runners)
