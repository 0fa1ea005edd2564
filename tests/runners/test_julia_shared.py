"""What the Julia runners share: its own tests, and that every Julia file of the project can be read by Julia."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from collector.plan.runner import RUNNERS
from collector.toolchains.toolchain import find_toolchain

BARE = RUNNERS.parent.parent / "benchmarks" / "bare"
# Exits with the first file that Julia cannot parse, and why; `Meta.parseall` is not in Julia 1.5.
PARSE = """
for path in ARGS
    tree = Base.parse_input_line(read(path, String); filename = path)
    for part in (tree isa Expr ? [tree; tree.args] : [])
        part isa Expr && part.head in (:error, :incomplete) && (println(stderr, path, ": ", part.args[1]); exit(1))
    end
end
"""


@pytest.fixture(scope="module")
def julia() -> list[str]:
    """Return the command of Julia, or skip with the reason."""
    found = find_toolchain("julia")
    if found is None:
        pytest.skip("no Julia under .toolchains or on the PATH; to install it: make setup")
    return [str(found), "--startup-file=no", "--history-file=no"]


def test_every_julia_file_parses(julia: list[str]):
    """A runner whose framework is absent here is still Julia."""
    files = sorted(str(path) for folder in (RUNNERS, BARE) for path in folder.rglob("*.jl"))

    answer = subprocess.run([*julia, "-e", PARSE, *files], capture_output=True, text=True, timeout=120, check=False)

    assert len(files) > 50
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_file_that_does_not_parse_is_found(julia: list[str], tmp_path: Path):
    """The test above can fail."""
    broken = tmp_path / "broken.jl"
    broken.write_text("good() = 1\nfunction open(\n", encoding="utf-8")

    answer = subprocess.run([*julia, "-e", PARSE, broken], capture_output=True, text=True, timeout=120, check=False)

    assert answer.returncode == 1
    assert "broken.jl" in answer.stderr


@pytest.mark.parametrize("path", sorted(RUNNERS.glob("julia_*/run.jl")), ids=lambda path: path.parent.name)
def test_a_run_includes_in_statements_of_their_own(path: Path):
    """Since Julia 1.12 a statement does not see what it includes: `if asked; include(file); function(); end` fails."""
    program = path.read_text(encoding="utf-8")

    assert "include(" in program
    assert not re.search(r"^ +.*\binclude\(", program, re.MULTILINE)


@pytest.mark.parametrize("folder", ["_julia", "julia_lux", "julia_simplechains"])
def test_its_own_tests_pass(julia: list[str], tmp_path: Path, folder: str):
    """Files, batches, the loop's events, the gate's files, where parameters lie; no framework."""
    script = str(RUNNERS / folder / "test" / "runtests.jl")

    answer = subprocess.run(
        [*julia, "--depwarn=error", script], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
