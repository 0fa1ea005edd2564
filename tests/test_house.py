"""Promises that the whole project keeps: sizes, wings, and that nothing names a machine or a registry."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SOURCES = sorted(p for part in ("collector", "store", "analysis") for p in (PROJECT / part).rglob("*.py"))
SOURCES.append(PROJECT / "deadheat.py")
MAX_FUNCTION_LINES, MAX_MODULE_LINES = 40, 400


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [PROJECT / name for name in listing.stdout.splitlines() if (PROJECT / name).is_file()]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_no_function_is_longer_than_a_screen():
    """Forty lines, docstring excluded."""
    long = [
        f"{path.relative_to(PROJECT)}:{node.lineno} {node.name}: {code_lines(node)} lines"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and code_lines(node) > MAX_FUNCTION_LINES
    ]

    assert long == []


def test_no_module_is_a_house_of_one_room():
    """Four hundred lines."""
    long = [str(p.relative_to(PROJECT)) for p in SOURCES if len(p.read_text().splitlines()) > MAX_MODULE_LINES]

    assert long == []


def test_half_of_the_functions_are_read_at_a_glance():
    """Six lines for half of them, sixteen for nine of ten."""
    lengths = sorted(
        code_lines(node)
        for path in SOURCES
        if "runners" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )

    assert lengths[len(lengths) // 2] <= 6
    assert lengths[len(lengths) * 9 // 10] <= 16


@pytest.mark.parametrize("package", ["collector", "analysis"])
def test_a_module_lives_in_a_wing(package: str):
    """Two may stand at the door; a wing has sixteen rooms at most."""
    at_the_door = [path for path in (PROJECT / package).glob("*.py") if path.name != "__init__.py"]
    crowded = [str(wing.relative_to(PROJECT)) for wing in wings(package) if len(list(wing.glob("*.py"))) > 17]

    assert len(at_the_door) <= 2
    assert crowded == []


@pytest.mark.parametrize("package", ["collector", "analysis"])
def test_the_picture_of_the_house_has_every_wing(package: str):
    """What docs/development/architecture.md does not name, nobody finds."""
    text = (PROJECT / "docs/development/architecture.md").read_text(encoding="utf-8")

    assert [wing.name for wing in wings(package) if f"`{wing.name}" not in text and f"/{wing.name}" not in text] == []


def wings(package: str) -> list[Path]:
    """Return the folders of a package that hold its modules."""
    found = {path.parent for path in SOURCES if path.is_relative_to(PROJECT / package)} - {PROJECT / package}
    return sorted(folder for folder in found if "runners" not in folder.parts)


def test_no_file_names_one_machine():
    """A path of the machine it was written on works nowhere else."""
    path_of_a_machine = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|opt/(?:wheels|pypi))/")
    texts = [p for p in tracked_files() if p.suffix in {".py", ".toml", ".md", ".yml", ".jl", ".ex", ".exs", ".jinja"}]

    guilty = [str(p.relative_to(PROJECT)) for p in texts if path_of_a_machine.search(p.read_text(encoding="utf-8"))]
    assert guilty == [str(Path(__file__).relative_to(PROJECT))] or guilty == []
