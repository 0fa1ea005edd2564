"""Findings as exact rows, for programs (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from analysis.findings.comparison import Verdict
from analysis.findings.finding import Cell, Finding

CELL_COLUMNS = [field.name for field in fields(Cell)]
FINDING_COLUMNS = [field.name for field in fields(Finding) if field.name != "cell"]


def exact_rows(findings: Sequence[Finding]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return every field of every finding, those of its cell first."""
    values = [
        (
            *(getattr(finding.cell, name) for name in CELL_COLUMNS),
            *(_plain(getattr(finding, name)) for name in FINDING_COLUMNS),
        )
        for finding in findings
    ]
    return [*CELL_COLUMNS, *FINDING_COLUMNS], values


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Verdict) else value
