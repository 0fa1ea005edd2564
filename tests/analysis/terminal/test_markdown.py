"""The report of a pull request: a table of verdicts that GitHub shows, the reasons folded, the same findings."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.findings.comparison import Verdict
from analysis.rendering.wording import sentence
from analysis.terminal.markdown import COLUMNS, markdown_report, plain
from analysis.terminal.report import NOTHING_MEASURED, latest_findings
from tests.analysis.builders import JAX, JULIA, PYTORCH, Campaign
from tests.analysis.sites import assert_snapshot, results_of, small_rows, write_store

MACHINES = {"environment1": "bench (Test CPU, 2 cores)"}


@cache
def small() -> str:
    """Return the report of the small store."""
    measured = results_of(small_rows()).measured
    return markdown_report(latest_findings(measured), measured, MACHINES)


def test_the_report_is_kept() -> None:
    """As a whole: what a reader of the pull request sees."""
    measured = results_of(Campaign(racers=(PYTORCH, JAX, JULIA)).rows()).measured

    assert_snapshot("report.md", markdown_report(latest_findings(measured), measured, MACHINES))


def test_every_finding_has_a_row_and_a_sentence() -> None:
    """The verdicts are those of the findings."""
    findings = latest_findings(results_of(small_rows()).measured)
    rows = [line for line in small().splitlines() if line.startswith("| ") and "---" not in line]
    verdicts = [line.rsplit("**", 2)[1] for line in rows if "**" in line]

    assert verdicts == [str(finding.verdict) for finding in findings]
    for finding in findings:
        assert plain(sentence(finding)) in small()


def test_the_first_line_counts_the_verdicts() -> None:
    """So that the mail about the comment says it all."""
    findings = latest_findings(results_of(small_rows()).measured)
    first = small().splitlines()[0]

    assert first.startswith("**deadheat:** ")
    for verdict in {finding.verdict for finding in findings}:
        assert f"{sum(finding.verdict is verdict for finding in findings)} {verdict}" in first
    assert str(Verdict.DEAD_HEAT) not in first


def test_every_row_has_as_many_cells_as_the_head() -> None:
    """Whatever a runner wrote: a pipe in a message would break the table."""
    rows = [line for line in small().splitlines() if line.startswith("|")]

    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {len(COLUMNS) + 1}


def test_details_are_folded_and_closed() -> None:
    """GitHub needs the empty line after the summary."""
    assert small().count("<details>\n<summary>Why</summary>\n\n- ") == small().count("\n</details>\n") == 3


def test_what_a_runner_wrote_is_no_markup() -> None:
    """No link, no HTML, no emphasis."""
    assert "<script>" not in small()
    assert "[x](" not in small()
    assert "\\[x\\](javascript:alert(1))" in small()


@pytest.mark.parametrize("text", ["@octocat", "fixes #12"])
def test_nobody_is_notified(text: str) -> None:
    """A mention of a person or an issue is none once it is on the page."""
    assert not re.search(r"@\w|#\d", plain(text))


def test_without_findings_there_is_a_sentence() -> None:
    """And no empty table."""
    measured = results_of([]).measured

    assert markdown_report([], measured, {}) == NOTHING_MEASURED + "\n"


def test_the_command_writes_it(tmp_path: Path) -> None:
    """On standard output, nothing else with it."""
    path = write_store(tmp_path, small_rows()).path
    result = CliRunner().invoke(app, ["report", "--markdown", "--store", str(path)])

    assert (result.exit_code, result.stderr) == (0, "")
    assert sorted(result.stdout.splitlines()) == sorted(small().splitlines())  # a store has its own order of cells


def test_the_command_of_an_empty_store_is_a_sentence(tmp_path: Path) -> None:
    """Nothing was measured, nothing is wrong."""
    result = CliRunner().invoke(app, ["report", "--markdown", "--store", str(tmp_path)])

    assert (result.exit_code, result.stdout) == (0, NOTHING_MEASURED + "\n")


def test_two_formats_at_once_are_refused() -> None:
    """By name."""
    result = CliRunner().invoke(app, ["report", "--markdown", "--format", "csv"])

    assert "--markdown: got --format csv too" in str(result.exception)
