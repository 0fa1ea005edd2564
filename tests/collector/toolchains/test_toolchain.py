"""Setting up a language: what is there is used, what is missing is unpacked, what cannot be had is said."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from collector.toolchains.debian import (
    Archive,
    TransientError,
    apt_configuration,
    apt_error,
    archives_of,
    download_bytes,
    source_line,
)
from collector.toolchains.toolchain import (
    TOOLCHAINS,
    ToolchainError,
    find_toolchain,
    is_new_enough,
    known_toolchains,
    probe_version,
    read_toolchain,
    setup_toolchains,
    wrapper_text,
)

OWL = """
name = "owl"
title = "Owl"
suite = "barn"
minimum_version = "2.0"
version_arguments = ["--version"]
version_pattern = 'owl (\\d+\\.\\d+)'
install = "Install Owl."
packages = ["owl", "libowl"]
preamble = ""

[executables]
owl = "usr/lib/owl-*/owl"

[environment]
OWL_HOME = "$root/usr/share"
"""

# Debian's tools as far as deadheat uses them: two archives, of which the second has the suite; packages are text.
APT_GET = """#!/bin/sh
echo "$@" >> "$FAKE_LOG"
case "$*" in
    indextargets*) printf 'file:/attic/\\t$(SIGNED_BY)\\nfile:/barn/\\t/barn.gpg\\nfile:/barn/\\t/barn.gpg\\n' ;;
    *update*)
        grep -q 'file:/barn/ barn main' sources.list ||
        { echo "E: The repository 'file:/attic barn Release' does not have a Release file." >&2; exit 100; } ;;
    *--print-uris*) printf "'file:/barn/owl.deb' owl.deb 3000000 SHA256:x\\n'file:/b/lib.deb' lib.deb 40 SHA256:y\\n" ;;
    *download*) touch owl.deb libowl.deb ;;
esac
"""
DPKG_DEB = """#!/bin/sh
case "$2" in
    */owl.deb)
        mkdir -p "$3/usr/lib/owl-3"
        printf '#!/bin/sh\\necho "owl %s of $OWL_HOME"\\n' "${FAKE_OWL_VERSION:-3.1}" > "$3/usr/lib/owl-3/owl"
        chmod +x "$3/usr/lib/owl-3/owl" ;;
    *) mkdir -p "$3/usr/share" && touch "$3/usr/share/feathers" ;;
esac
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "owl.toml").write_text(OWL, encoding="utf-8")
    return folder


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a PATH whose Debian tools are the fakes above; nothing of the machine's own apt is reached."""
    folder = tmp_path / "tools"
    write_program(folder / "apt-get", APT_GET)
    write_program(folder / "dpkg-deb", DPKG_DEB)
    write_program(folder / "dpkg", "#!/bin/sh\necho amd64\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "apt.log"))
    return folder


def test_what_is_missing_is_unpacked_beside_the_project_and_starts(tmp_path: Path, definitions: Path, tools: Path):
    """The first archive lacks the suite, the second gives it; the wrapper starts the language with its variables."""
    [result] = setup_toolchains(["owl"], root=tmp_path / "home", console=quiet(), folder=definitions)

    assert (result.state, result.version) == ("ready", "3.1")
    assert result.executable == tmp_path / "home/.toolchains/bin/owl"
    assert find_toolchain("owl", root=tmp_path / "home") == result.executable
    assert run(result.executable) == f"owl 3.1 of {tmp_path}/home/.toolchains/owl/usr/share"
    assert sorted(path.name for path in (tmp_path / "home/.toolchains").iterdir()) == ["bin", "owl", "setup.lock"]


def test_the_size_is_told_before_the_download(tmp_path: Path, definitions: Path, tools: Path):
    """A person sees what will be downloaded, how much and from where."""
    console = quiet()

    setup_toolchains(["owl"], root=tmp_path, console=console, folder=definitions)

    assert "owl: reading the package list of barn from file:/barn/" in console.file.getvalue()
    assert "owl: downloading 2 packages, 3 MB" in console.file.getvalue()


def test_a_second_set_up_downloads_nothing(tmp_path: Path, definitions: Path, tools: Path):
    """Packages unpacked before from the same list are used as they are."""
    setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)
    before = (tmp_path / "apt.log").read_text()

    [again] = setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert (again.state, again.message) == ("ready", "unpacked before")
    assert (tmp_path / "apt.log").read_text() == before


def test_a_changed_list_of_packages_is_unpacked_anew(tmp_path: Path, definitions: Path, tools: Path):
    """The definition is part of what 'there already' means."""
    setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)
    (tmp_path / ".toolchains/owl/old").touch()
    (definitions / "owl.toml").write_text(OWL.replace('"libowl"', '"libowl", "feather"'), encoding="utf-8")

    [result] = setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert result.message.startswith("unpacked from the packages of barn")
    assert not (tmp_path / ".toolchains/owl/old").exists()


def test_a_moved_project_still_starts_its_language(tmp_path: Path, definitions: Path, tools: Path):
    """A wrapper finds its packages from its own place, which may hold spaces."""
    setup_toolchains(["owl"], root=tmp_path / "here", console=quiet(), folder=definitions)
    shutil.move(tmp_path / "here", tmp_path / "over there")

    [result] = setup_toolchains(["owl"], root=tmp_path / "over there", console=quiet(), folder=definitions)

    assert result.message == "unpacked before"


def test_a_language_on_the_path_that_is_new_enough_is_used(tmp_path: Path, definitions: Path, tools: Path):
    """Nothing is downloaded for what a person has installed."""
    write_program(tools / "owl", "#!/bin/sh\necho owl 2.0\n")

    [result] = setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert (result.executable, result.version) == (tools / "owl", "2.0")
    assert not (tmp_path / "apt.log").exists()
    assert find_toolchain("owl", root=tmp_path) == tools / "owl"


@pytest.mark.parametrize("program", ["echo owl 1.9", "exit 1", "echo hoo"], ids=["too old", "broken", "another owl"])
def test_a_language_on_the_path_that_will_not_do_is_passed_over(
    tmp_path: Path, definitions: Path, tools: Path, program: str
):
    """The unpacked one is set up, and found before the other."""
    write_program(tools / "owl", f"#!/bin/sh\n{program}\n")

    [result] = setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert result.version == "3.1"
    assert find_toolchain("owl", root=tmp_path) == tmp_path / ".toolchains/bin/owl"


def test_an_archive_that_cannot_help_is_named_with_its_reason(tmp_path: Path, definitions: Path, tools: Path):
    """The failure says where was looked, what was expected and what to do; the other languages are still set up."""
    other = OWL.replace('"owl"', '"hen"').replace("barn", "coop").replace('"Owl"', '"Hen"')
    (definitions / "hen.toml").write_text(other, encoding="utf-8")

    hen, owl = setup_toolchains(["hen", "owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert (hen.state, owl.state) == ("failed", "ready")
    assert "file:/attic/: E: The repository" in hen.message
    assert "expected Hen 2.0 or newer on the PATH, or Debian coop" in hen.message
    assert hen.message.endswith("Install Owl.")


def test_packages_that_do_not_start_are_not_published(
    tmp_path: Path, definitions: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was unpacked is tried first; a failure leaves no half-made toolchain behind."""
    monkeypatch.setenv("FAKE_OWL_VERSION", "1.0")

    [result] = setup_toolchains(["owl"], root=tmp_path / "home", console=quiet(), folder=definitions)

    assert result.state == "failed"
    assert "do not start on this machine" in result.message
    assert find_toolchain("owl", root=tmp_path / "home") is None
    assert [path.name for path in (tmp_path / "home/.toolchains").iterdir()] == ["setup.lock"]


def test_what_a_killed_set_up_left_is_cleared_away(tmp_path: Path, definitions: Path, tools: Path):
    """A temporary folder of an earlier set-up does not stay for ever."""
    (tmp_path / ".toolchains/.tmp-dead/owl").mkdir(parents=True)

    setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert not list((tmp_path / ".toolchains").glob(".tmp-*"))


def test_a_machine_without_debians_tools_is_told_what_to_install(
    tmp_path: Path, definitions: Path, monkeypatch: pytest.MonkeyPatch
):
    """Elsewhere the language comes from a person."""
    monkeypatch.setenv("PATH", str(tmp_path))

    [result] = setup_toolchains(["owl"], root=tmp_path, console=quiet(), folder=definitions)

    assert "there is no apt-get and no dpkg and no dpkg-deb here" in result.message
    assert result.message.endswith("Install Owl.")


def test_an_unknown_language_is_named_before_anything_is_done(tmp_path: Path):
    """A misspelt language is wrong input, not a failed set-up."""
    with pytest.raises(ToolchainError, match=r"'jula' is not a known toolchain.*Did you mean 'julia'"):
        setup_toolchains(["elixir", "jula"], root=tmp_path)

    assert not (tmp_path / ".toolchains").exists()


def test_a_language_that_is_nowhere_is_not_found(tmp_path: Path):
    """Looking for a toolchain sets nothing up."""
    assert find_toolchain("no-such-language", root=tmp_path) is None


def test_an_executable_that_a_variable_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One language, two versions: what was unpacked stays, and is not used."""
    unpacked = tmp_path / ".toolchains/bin/owl"
    unpacked.parent.mkdir(parents=True)
    unpacked.touch()
    monkeypatch.setenv("DEADHEAT_OWL", str(tmp_path / "my owl"))

    assert find_toolchain("owl", root=tmp_path) == tmp_path / "my owl"


@pytest.mark.parametrize(
    ("program", "found"), [("echo owl 1.9", "is Owl 1.9"), ("exit 3", "does not start as Owl")], ids=["old", "broken"]
)
def test_an_executable_that_a_variable_names_and_that_will_not_do_is_an_error(
    tmp_path: Path, definitions: Path, tools: Path, monkeypatch: pytest.MonkeyPatch, program: str, found: str
):
    """A person chose it, so nothing else is set up in its place."""
    named = tmp_path / "höme" / "my owl"
    write_program(named, f"#!/bin/sh\n{program}\n")
    monkeypatch.setenv("DEADHEAT_OWL", str(named))

    [result] = setup_toolchains(["owl"], root=tmp_path / "home", console=quiet(), folder=definitions)

    assert result.state == "failed"
    assert f"DEADHEAT_OWL: {named} {found}; expected Owl 2.0 or newer. Correct it, or unset it" in result.message
    assert not (tmp_path / "home").exists()


def test_an_executable_that_a_variable_names_is_used_as_it_is(
    tmp_path: Path, definitions: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its version is told, and where it came from."""
    write_program(tmp_path / "owl", "#!/bin/sh\necho owl 2.4\n")
    monkeypatch.setenv("DEADHEAT_OWL", str(tmp_path / "owl"))

    [result] = setup_toolchains(["owl"], root=tmp_path / "home", console=quiet(), folder=definitions)

    assert (result.version, result.message) == ("2.4", "named by DEADHEAT_OWL")


# Stands for juliapkg: has no Julia until it may install one.
FINDER = """
import os, pathlib
def find_julia(compat, prefix, install=False):
    if not install:
        raise Exception("could not find Julia")
    print("[juliapkg] installing")
    program = pathlib.Path(prefix) / "bin" / "julia"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\\necho owl 3.9\\n")
    program.chmod(0o755)
    return program, "3.9"
"""
VERSIONS = """
def best_julia_version(compat):
    return "3.9", {"files": [{"size": 250_000_000, "url": "https://julia.example/owl.tar.gz"}]}
"""
UNREACHABLE = """
def best_julia_version(compat):
    raise OSError("[Errno -2] Name or service not known")
"""


def write_juliapkg(folder: Path, versions: str) -> None:
    package = folder / "juliapkg"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "compat.py").write_text("class Compat:\n    parse = staticmethod(str)\n", encoding="utf-8")
    (package / "find_julia.py").write_text(FINDER, encoding="utf-8")
    (package / "install_julia.py").write_text(versions, encoding="utf-8")


@pytest.fixture
def juliapkg(tmp_path: Path, definitions: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that installs a stand-in for juliapkg, for this process and those it starts."""
    asked = OWL.replace('install = "', 'through_juliapkg = true\ninstall = "')
    (definitions / "owl.toml").write_text(asked, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "python"))
    return lambda versions: write_juliapkg(tmp_path / "python", versions)


def test_juliapkg_is_asked_first_and_says_what_it_downloads(tmp_path: Path, definitions: Path, tools: Path, juliapkg):
    """Version, size and address before the download; a second set-up finds what is there."""
    juliapkg(VERSIONS)
    console = quiet()

    [result] = setup_toolchains(["owl"], root=tmp_path / "home", console=console, folder=definitions)
    [again] = setup_toolchains(["owl"], root=tmp_path / "home", console=quiet(), folder=definitions)

    said = console.file.getvalue()
    assert "julia: downloading Julia 3.9, 250 MB, from https://julia.example/owl.tar.gz" in said
    assert said.index("downloading") < said.index("[juliapkg] installing")
    assert (result.state, result.version) == ("ready", "3.9")
    assert again.message == "found by juliapkg before"
    assert not (tmp_path / "apt.log").exists()


def test_where_juliapkg_reaches_nobody_the_address_is_named_and_debian_serves(
    tmp_path: Path, definitions: Path, tools: Path, juliapkg
):
    """One way that is closed does not close the other."""
    juliapkg(UNREACHABLE)
    console = quiet()

    [result] = setup_toolchains(["owl"], root=tmp_path / "home", console=console, folder=definitions)

    said = " ".join(console.file.getvalue().split())
    assert "juliapkg, which asks https://julialang-s3.julialang.org/bin/versions.json: OSError: [Errno -2]" in said
    assert "owl: going on with the packages of barn" in said
    assert (result.state, result.version) == ("ready", "3.1")


def test_versions_are_compared_as_numbers():
    """1.10 is newer than 1.5, and no version is never enough."""
    assert is_new_enough("1.10.4", "1.5")
    assert is_new_enough("1.5", "1.5")
    assert not is_new_enough("1.4.9", "1.5")
    assert not is_new_enough("", "0")


def test_each_archive_is_tried_once_and_those_for_security_updates_last():
    """The same archive serves several suites; its key is kept when apt knows one."""
    targets = "http://a/debian-security/\t$(SIGNED_BY)\nhttp://a/debian/\t/k.gpg\nhttp://a/debian/\t/k.gpg\n"

    assert archives_of(targets) == [Archive("http://a/debian/", "/k.gpg"), Archive("http://a/debian-security/", "")]


def test_a_source_names_the_machines_key_and_accepts_a_suite_past_its_date():
    """Signatures are checked with the key that the machine uses for that archive."""
    line = source_line("barn", Archive("http://a/", "/k.gpg"), "amd64")

    assert line == "deb [arch=amd64 target=Packages check-valid-until=no signed-by=/k.gpg] http://a/ barn main\n"
    assert "signed-by" not in source_line("barn", Archive("http://a/", ""), "amd64")


def test_apt_writes_nowhere_but_in_its_folder(tmp_path: Path):
    """Every folder that apt writes to lies in the private root, and the machine's hooks are off."""
    text = apt_configuration(tmp_path)

    assert text.startswith("#clear APT::Update;\n")
    for key in ("Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"):
        assert f'{key} "{tmp_path}' in text


def test_sizes_are_added_up_from_what_apt_would_download():
    """Anything else that apt prints is passed over."""
    assert (
        download_bytes("Reading\n'http://a/b_1%3a2.deb' b_1%3a2.deb 120 SHA256:0\n'http://a/c' c 3 SHA256:1\n") == 123
    )


def test_only_a_failure_that_may_pass_is_tried_again():
    """A refused connection may pass; a suite that does not exist will not come."""
    assert isinstance(apt_error("W: x\nE: Could not connect\n"), TransientError)
    assert not isinstance(apt_error("E: The repository 'x' does not have a Release file."), TransientError)
    assert str(apt_error("W: x\nE: first\nE: second\n")) == "E: first"


@pytest.mark.parametrize("language", known_toolchains())
def test_every_toolchain_names_its_own_executable(language: str):
    """Adding a language is adding a file: its name is its executable's."""
    toolchain = read_toolchain(language)

    assert toolchain.name == language
    assert language in toolchain.executables
    assert (TOOLCHAINS / f"{language}.toml").exists()


@pytest.mark.parametrize("language", known_toolchains())
def test_every_wrapper_is_a_shell_script_without_mistakes(language: str):
    """The shell itself reads each wrapper."""
    toolchain = read_toolchain(language)
    text = wrapper_text(toolchain, "usr/bin/x", "x86_64")

    checked = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert "{" not in text.replace("${", "")


@pytest.mark.parametrize(
    ("flags", "given", "expected"),
    [
        ("avx2 avx512bw avx512vl", "", "SkylakeX"),
        ("avx avx2", "", "Haswell"),
        ("sse2", "", ""),
        ("avx2 avx512bw avx512vl", "Zen", "Zen"),
    ],
)
def test_openblas_is_told_of_cpus_that_are_newer_than_itself(tmp_path: Path, flags: str, given: str, expected: str):
    """Julia's wrapper names the kernels the CPU can run, unless a person has."""
    (tmp_path / "cpuinfo").write_text(f"model name\t: New\nflags\t\t: fpu {flags}\n")
    script = read_toolchain("julia").preamble.replace("/proc/cpuinfo", str(tmp_path / "cpuinfo"))
    given_core = {"OPENBLAS_CORETYPE": given} if given else {}

    answer = subprocess.run(
        ["sh", "-c", f'{script}\necho "${{OPENBLAS_CORETYPE-}}"'],
        env={"PATH": os.environ["PATH"], **given_core},
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.strip() == expected


@pytest.mark.parametrize("language", known_toolchains())
def test_the_toolchains_of_this_project_start(language: str):
    """Where `make setup` has unpacked or found a language, it runs and is new enough."""
    executable = find_toolchain(language)
    if executable is None:
        pytest.skip(f"no {language} here: run `deadheat setup {language}`")

    version = probe_version(read_toolchain(language), executable)

    assert is_new_enough(version, read_toolchain(language).minimum_version)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def run(program: Path | None) -> str:
    return subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.strip()
