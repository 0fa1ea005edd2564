"""The findings in the terminal: the same as on the site."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.findings.comparison import Verdict
from analysis.rendering.wording import sentence
from analysis.results.results import Measured, ResultsError
from analysis.terminal.report import compared, latest_findings
from store.records import RunRow
from tests.analysis.builders import JAX, NUMPY, PYTORCH, START, Campaign
from tests.analysis.sites import of_workload, results_of, small_rows, write_store


@cache
def measured() -> Measured:
    """Return the small campaign's measurements."""
    return results_of(small_rows()).measured


def test_a_report_holds_the_findings_of_every_workload() -> None:
    """Those of the latest campaign, as the site has them."""
    assert latest_findings(measured()) == results_of(small_rows()).findings


def test_a_report_can_be_of_one_workload() -> None:
    """The option narrows, nothing else."""
    found = latest_findings(measured(), workload="mnist_lenet")

    assert {finding.cell.workload for finding in found} == {"mnist_lenet"}


def test_an_unknown_workload_is_named_with_those_that_are_known() -> None:
    """So that the next attempt is right."""
    with pytest.raises(ResultsError, match="got 'cifar'; there are findings on mnist_lenet, mnist_mlp"):
        latest_findings(measured(), workload="cifar")


def test_a_workload_of_an_earlier_campaign_is_found_by_all() -> None:
    """The newest one did not measure it: the advice is not to look for another name."""
    changes = {"campaign_id": "old", "workload": "fashion_lenet"}
    old = of_workload("fashion_lenet", Campaign(heats=2, changes=changes).rows())
    earlier = [
        dataclasses.replace(row, started_at=START - timedelta(days=9)) if isinstance(row, RunRow) else row
        for row in old
    ]
    rows = [*small_rows(), *earlier]
    both = results_of(rows).measured

    with pytest.raises(ResultsError, match="--all looks at the earlier ones too"):
        latest_findings(both, workload="fashion_lenet")
    assert latest_findings(both, workload="fashion_lenet", everything=True)


def test_a_comparison_with_the_baseline_is_the_published_one() -> None:
    """Whichever of the two is named first."""
    one = compared(measured(), "python_pytorch", "python_jax", workload="mnist_mlp")
    other = compared(measured(), "python_jax:jit", "python_pytorch:eager", workload="mnist_mlp")

    assert (
        one
        == other
        == [f for f in latest_findings(measured(), workload="mnist_mlp") if f.candidate == "python_jax:jit"]
    )
    assert [finding.verdict for finding in one] == [Verdict.SLOWER, Verdict.SLOWER]


def test_a_comparison_that_no_suite_planned_has_an_interval_and_no_verdict() -> None:
    """The pairs are real, the verdict would be an afterthought."""
    rows = Campaign(racers=(PYTORCH, JAX, NUMPY)).rows()
    found = compared(results_of(rows).measured, "python_jax", "python_numpy")

    assert [finding.verdict for finding in found] == [Verdict.UNDECIDED, Verdict.UNDECIDED]
    assert found[0].ratio == pytest.approx(5 / 1.342, rel=0.02)
    assert found[0].ratio_low is not None
    assert all("the suite did not plan this comparison" in sentence(finding) for finding in found)
    assert all(finding.adjusted_p is None for finding in found)


@pytest.mark.parametrize("names", [("python_pytorch", "python_pytorch:eager"), ("python_jax", "python_jax")])
def test_an_entry_is_not_compared_with_itself(names: tuple[str, str]) -> None:
    """A bare runner is its headline variant."""
    with pytest.raises(ResultsError, match="expected two entries"):
        compared(measured(), *names)


def test_an_unknown_entry_is_named_with_those_that_were_measured() -> None:
    """A typo costs one more attempt."""
    with pytest.raises(ResultsError, match="'python_tenserflow' was never measured; measured are elixir_beam:default"):
        compared(measured(), "python_tenserflow", "python_jax")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the small store."""
    return write_store(tmp_path_factory.mktemp("store"), small_rows()).path


def told(*arguments: str) -> str:
    """Return what a command writes."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_table_in_the_terminal_ends_with_the_sentences(store: Path) -> None:
    """Verdict and sentence are those of the findings."""
    text = told("report", "--store", str(store))

    for finding in latest_findings(measured()):
        assert sentence(finding) in text
    assert "mnist_mlp: 3 epochs, batch 128, 1 thread, adam 0.001" in text


def test_csv_and_json_hold_every_field_exactly(store: Path) -> None:
    """For whoever computes with them."""
    rows = list(csv.DictReader(io.StringIO(told("report", "--format", "csv", "--store", str(store)))))
    objects = json.loads(told("report", "--format", "json", "--store", str(store)))
    found = latest_findings(measured())

    expected = {(f.cell.workload, f.clock, f.candidate): f for f in found}
    assert len(rows) == len(objects) == len(expected)
    for row, exact in zip(rows, objects, strict=True):
        finding = expected[exact["workload"], exact["clock"], exact["candidate"]]
        assert row["verdict"] == exact["verdict"] == str(finding.verdict)
        assert exact["ratio"] == (None if finding.ratio is None else pytest.approx(finding.ratio, rel=1e-12))
        assert row["ratio"] == ("" if exact["ratio"] is None else repr(exact["ratio"]))


def test_an_empty_store_is_a_sentence_and_no_error(tmp_path: Path) -> None:
    """Nothing was measured, nothing is wrong."""
    assert "There are no findings" in told("report", "--store", str(tmp_path))
