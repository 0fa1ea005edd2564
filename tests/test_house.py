"""Promises that the whole project keeps: sizes, words, and that nothing names a machine or a registry."""

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


def test_nobody_says_sample():
    """It means a training example to one reader and a statistical sample to the other."""
    said = re.compile(r"\bsamples?\b", re.IGNORECASE)

    guilty = [str(p.relative_to(PROJECT)) for p in SOURCES if said.search(p.read_text(encoding="utf-8"))]
    assert guilty == []


def test_no_file_names_one_machine():
    """A path of the machine it was written on works nowhere else."""
    path_of_a_machine = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|opt/(?:wheels|pypi))/")
    texts = [p for p in tracked_files() if p.suffix in {".py", ".toml", ".md", ".yml", ".jl", ".ex", ".exs", ".jinja"}]

    guilty = [str(p.relative_to(PROJECT)) for p in texts if path_of_a_machine.search(p.read_text(encoding="utf-8"))]
    assert guilty == [str(Path(__file__).relative_to(PROJECT))] or guilty == []
