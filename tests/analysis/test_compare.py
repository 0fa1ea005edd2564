"""`deadheat compare`: a verdict a referee would accept, or a sentence in the place of the number."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from analysis.commands import app
from analysis.findings.comparison import Verdict
from analysis.frames.prices import Rates
from analysis.results.results import ResultsError
from analysis.terminal.compare import Versus, versus
from analysis.terminal.comparison_text import both_ways
from analysis.terminal.explanation import floor_words, left_out, rule_words
from analysis.terminal.interval_line import interval_line
from analysis.terminal.report import find_metric
from store.records import EnvironmentRow, GateRow, MeasurementRow, Row, RunRow
from tests.analysis.builders import JAX, JULIA, NUMPY, PYTORCH, Campaign, environment_row, frames_of, gate_row
from tests.analysis.sites import results_of, small_rows, write_store

TIE = dataclasses.replace(JAX, train_s_per_epoch=1.0, eval_s=0.05)
MACHINES = {"environment1": "bench (Test CPU, 2 cores)", "environment2": "desk (Other CPU, 8 cores)"}


def compared(rows: Sequence[Row], first: str, second: str, **options: Any) -> Versus:
    """Return two entries of rows against each other."""
    return versus(
        results_of(rows).measured, frames_of(rows).measurements, Rates(machines=MACHINES), (first, second), **options
    )


@cache
def demo() -> Versus:
    """Return the bare Julia against PyTorch: ten heats, twice the training time."""
    return compared(Campaign(racers=(PYTORCH, JAX, JULIA)).rows(), "python_pytorch", "julia_stdlib")


def test_the_findings_are_those_of_the_pages() -> None:
    """Computed once: the very same values."""
    rows = Campaign(racers=(PYTORCH, JAX, JULIA)).rows()

    assert demo().findings == [f for f in results_of(rows).findings if f.candidate == "julia_stdlib:default"]


def test_the_verdict_comes_first_and_the_reasons_last() -> None:
    """Who, what, on which clock; then values, interval, rule, floor, heats and gate."""
    text = demo().texts[0]
    order = [
        "julia_stdlib is slower than python_pytorch: mnist_mlp, train clock, to the target accuracy\n",
        "campaign demo-1, bench (Test CPU, 2 cores)",
        "python_pytorch   1.17 s   takes 50.",
        "julia_stdlib     2.33 s   takes 100.",
        "95 % interval 1.9",
        "less ----",
        "rule     equality is rejected (Holm's p below 1e-12, level 5 %)",
        "floor    python_pytorch run twice in each heat differs from itself by at most 0.",
        "heats    10 counted, none left out",
        "gate     python_pytorch:eager passed A; julia_stdlib:default passed A",
        "julia_stdlib:default is Julia without a framework",
    ]

    places = [text.find(part) for part in order]
    assert -1 not in places
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 100


def test_both_directions_have_their_own_base() -> None:
    """34.2 % longer one way is 25.5 % less the other: the paper mixes the two."""
    finding = dataclasses.replace(demo().findings[0], ratio=1.342, ratio_low=1.338, ratio_high=1.346)

    assert both_ways(finding) == ("takes 25.48 % less than julia_stdlib", "takes 34.2 % longer than python_pytorch")


def test_equal_values_are_said_to_be_the_same() -> None:
    """Neither takes 0 % less."""
    finding = dataclasses.replace(demo().findings[0], ratio=1.0)

    assert both_ways(finding) == ("takes the same as julia_stdlib", "takes the same as python_pytorch")


@given(st.floats(0.05, 20.0).filter(lambda ratio: ratio != 1))
def test_one_direction_follows_from_the_other(ratio: float) -> None:
    """Whatever the ratio: (1 + x)(1 - y) = 1."""
    finding = dataclasses.replace(demo().findings[0], ratio=ratio, ratio_low=None, ratio_high=None)
    factors = []
    for words in both_ways(finding):
        number = float(re.findall(r"[\d.]+", words.replace(",", ""))[0])
        is_times = "times" in words
        factors.append(number if is_times else 1 + number / 100 * (-1 if "less" in words else 1))

    if min(factors) > 0.02:  # "95 % less" has two digits: its rounding is 1 % of what is left
        assert factors[0] * factors[1] == pytest.approx(1, rel=0.02 + 0.006 / min(factors))


def test_a_dead_heat_names_its_margin() -> None:
    """Equal programs, ten quiet heats."""
    found = compared(Campaign(racers=(PYTORCH, TIE)).rows(), "python_pytorch", "python_jax", metric="train")

    assert [finding.verdict for finding in found.findings] == [Verdict.DEAD_HEAT]
    assert "Dead heat: python_jax and python_pytorch take the same time within 3 %" in found.texts[0]
    assert "the 90 % interval lies inside the margin of ± 3 %" in found.texts[0]


def test_a_stricter_level_is_named() -> None:
    """Where the suite has planned several looks."""
    finding = dataclasses.replace(demo().findings[0], verdict=Verdict.DEAD_HEAT)

    assert "the 97.2 % interval lies inside" in rule_words(finding, 0.014)
    assert "two one-sided tests at 1.4 %" in rule_words(finding, 0.014)


def test_a_machine_that_cannot_resolve_the_margin_is_named_in_the_rule() -> None:
    """The stricter rule of such machines decided."""
    finding = dataclasses.replace(demo().findings[0], floor_ratio=1.05)

    assert "beyond the A/A floor; that is asked because this machine cannot resolve ± 3 %" in rule_words(finding)
    assert "at most 5 %" in floor_words(finding)


def test_too_few_heats_are_said_in_the_place_of_the_interval() -> None:
    """Five where six are needed."""
    found = compared(Campaign(heats=5).rows(), "python_pytorch", "python_jax", metric="train")

    assert found.texts[0].startswith("No verdict yet, python_jax against python_pytorch")
    assert "no interval below 6 heats, 5 heats" in found.texts[0]
    assert "an interval needs 6 heats and a public verdict 10" in found.texts[0]


def test_heats_that_were_left_out_have_their_reasons() -> None:
    """A crash and a disturbance, in the entry they befell; a third entry's crash costs nothing."""
    rows = [broken(row) for row in Campaign(racers=(PYTORCH, JAX, NUMPY), heats=13).rows()]
    found = compared(rows, "python_pytorch", "python_jax", metric="train")

    assert found.findings[0].heats == 11
    assert (
        "11 counted, 2 left out (heat 2: python_jax:jit crashed (no memory); heat 3: python_pytorch:eager was "
        "disturbed (CPU))" in " ".join(found.texts[0].split())
    )


def broken(row: Row) -> Row:
    """Return the row, some of them as that of a run that went wrong."""
    if not isinstance(row, RunRow) or row.control:
        return row
    if (row.repetition, row.runner) == (2, "python_jax"):
        return dataclasses.replace(row, status="crashed", message="no memory\nat line 3")
    if (row.repetition, row.runner) == (3, "python_pytorch"):
        return dataclasses.replace(row, contaminated=True, contamination="CPU")
    return dataclasses.replace(row, status="crashed") if (row.repetition, row.runner) == (4, "python_numpy") else row


def test_a_run_that_is_missing_from_its_heat_is_said() -> None:
    """Nothing of it is in the store."""
    runs = frames_of(Campaign(heats=2).rows()).runs
    runs = runs[(runs["entry"] != "python_jax:jit") | (runs["repetition"] != 1)]

    assert left_out(runs, "python_pytorch:eager", "python_jax:jit") == [(1, "python_jax:jit has no run")]


def test_a_baseline_that_never_succeeded_is_a_sentence() -> None:
    """And no number."""
    crashing = dataclasses.replace(PYTORCH, status="crashed", message="no CUDA")
    found = compared(Campaign(racers=(crashing, JAX)).rows(), "python_pytorch", "python_jax")

    assert not found.has_number
    assert "The baseline python_pytorch:eager never completed (20 crashed): no CUDA." in found.texts[0]


def test_an_entry_that_was_unavailable_is_a_sentence_with_its_reason() -> None:
    """It was to be measured; that is not a wrong name."""
    found = compared(small_rows(), "python_pytorch", "elixir_axon")

    assert not found.has_number
    assert "It is unavailable: mix was not found; make setup installs it." in found.texts[0]


def elsewhere(row: Row, **changes: Any) -> Row:
    """Return the row as one of another campaign, with `changes` of its run."""
    if isinstance(row, EnvironmentRow):
        return environment_row(environment_id="environment2", cpu_model="Other CPU")
    ids = {name: f"b-{getattr(row, name)}" for name in ("run_id", "heat_id", "trial_id") if hasattr(row, name)}
    if hasattr(row, "campaign_id"):
        ids["campaign_id"] = "demo-2"
    return dataclasses.replace(row, **ids, **(changes if isinstance(row, RunRow) else {}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment_id": "environment2"}, "hardware (bench (Test CPU, 2 cores) against desk (Other CPU, 8 cores))"),
        ({"workload_version": 2}, "workload version (1 against 2)"),
        ({"mode": "steps", "steps": 50}, "mode (train against steps); steps (0 against 50)"),
        ({"dtype": "bf16"}, "dtype (fp32 against bf16)"),
        ({}, "campaign (demo-1 against demo-2)"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_differs(changes: dict[str, Any], words: str) -> None:
    """Other hardware, version, work or campaign: never a ratio of two that never met."""
    rows = [*Campaign(racers=(PYTORCH,)).rows(), *(elsewhere(r, **changes) for r in Campaign(racers=(JAX,)).rows())]
    found = compared(rows, "python_pytorch", "python_jax")

    assert (found.findings, found.texts, found.has_number) == ([], [], False)
    assert found.apart.startswith("python_pytorch:eager and python_jax:jit were never run in the same heat; ")
    assert words in found.apart


def test_an_entry_without_runs_on_the_workload_is_named() -> None:
    """Measured elsewhere."""
    found = compared(small_rows(), "python_pytorch", "elixir_beam", workload="mnist_mlp")

    assert found.apart == "elixir_beam:default has no runs on mnist_mlp, so there is no number"


def test_a_studys_own_recipe_is_never_compared() -> None:
    """Each side trains something else."""
    rows = Campaign(changes={"track": "published"}).rows()
    found = compared(rows, "python_pytorch", "python_jax")

    assert found.apart.startswith("python_pytorch:eager and python_jax:jit met in the track published alone")


def test_an_entry_that_never_ran_because_of_the_gate_is_known() -> None:
    """Its finding says what failed."""
    rows = [row for row in Campaign(racers=(PYTORCH, JAX)).rows() if not isinstance(row, GateRow)]
    refused = gate_row(runner="julia_stdlib", variant="default", passed=False, found="294.73", expected="2.3")
    found = compared([*rows, refused], "python_pytorch", "julia_stdlib", metric="train")

    assert "It failed part A of the gate on mnist_mlp: a.losses is 294.73, expected 2.3." in found.texts[0]


def test_later_campaigns_are_replications_and_never_pooled() -> None:
    """The newest is told in full, the earlier in a line."""
    rows = Campaign().rows()
    later = [elsewhere(row, started_at=row.started_at.replace(year=2027)) for row in rows if isinstance(row, RunRow)]
    others = [elsewhere(row) for row in rows if not isinstance(row, (RunRow, EnvironmentRow))]
    found = compared([*rows, *later, *others], "python_pytorch", "python_jax", metric="train")

    (text,) = found.texts
    assert "campaign demo-2" in text
    assert re.search(
        r"earlier  campaign demo-1: slower, 3[34]\.\d % longer, 10 heats; never pooled with this one", text
    )
    assert all(finding.heats == 10 for finding in found.findings)


@pytest.mark.parametrize(("name", "meant"), [("train", "train"), ("time_to_target_e2e_s", "e2e"), ("cpu_s", "cpu_s")])
def test_a_clock_has_several_names(name: str, meant: str) -> None:
    """Those of the metrics that are seconds on it."""
    assert find_metric(name) == meant


@pytest.mark.parametrize(("name", "near"), [("memory", "memory_peak_bytes"), ("trian", "train"), ("x-ray", "one of")])
def test_an_unknown_metric_has_a_suggestion(name: str, near: str) -> None:
    """Where there is one."""
    with pytest.raises(ResultsError, match=f"--metric: got '{name}'.*{near}"):
        find_metric(name)


def test_a_variant_that_is_no_headline_must_be_named() -> None:
    """The runner's name alone means its headline."""
    rows = Campaign(racers=(PYTORCH, dataclasses.replace(JAX, headline=False))).rows()

    with pytest.raises(ResultsError, match="not its headline variant; measured are python_jax:jit. Name the variant"):
        compared(rows, "python_pytorch", "python_jax")
    assert compared(rows, "python_pytorch", "python_jax:jit").has_number


def with_memory(row: Row) -> Row:
    """Return the row with JAX using a third more memory."""
    is_jax = isinstance(row, RunRow) and row.runner == "python_jax"
    return dataclasses.replace(row, memory_peak_bytes=400_000_000) if is_jax else row


def test_another_metric_has_an_interval_in_its_unit_and_no_verdict() -> None:
    """No margin was fixed for it in advance."""
    rows = [with_memory(row) for row in Campaign().rows()]
    found = compared(rows, "python_pytorch", "python_jax", metric="memory_peak_bytes")

    (finding,) = found.findings
    assert (finding.verdict, finding.unit, finding.heats) == (Verdict.UNDECIDED, "B", 10)
    assert finding.ratio == pytest.approx(4 / 3)
    assert found.texts[0].startswith("No verdict, python_jax against python_pytorch: mnist_mlp, memory_peak_bytes")
    assert "python_pytorch   286 MiB   has 25.00 % less than python_jax" in found.texts[0]
    assert "python_jax       381 MiB   has 33.33 % more than python_pytorch" in found.texts[0]
    assert "no suite fixed a margin for memory_peak_bytes in advance" in found.texts[0]
    assert "dead heat, 1/" not in found.texts[0]


def test_a_metric_of_zero_has_no_ratio() -> None:
    """A sentence instead; so it is for a metric that nobody recorded."""
    rows = Campaign().rows()
    runs = [row.run_id for row in rows if isinstance(row, RunRow)]
    waits = [MeasurementRow(run_id=run_id, metric="data_wait_s", value=0.0) for run_id in runs]
    zero = compared([*rows, *waits], "python_pytorch", "python_jax", metric="data_wait_s")
    none = compared(rows, "python_pytorch", "python_jax", metric="data_wait_s")

    assert "Data_wait_s is 0 in 30 of 30 runs, and a ratio needs numbers above 0." in zero.texts[0]
    assert "There is no heat in which both have data_wait_s." in none.texts[0]
    assert not zero.has_number
    assert not none.has_number


def test_an_entry_that_failed_the_gate_has_no_ratio_of_any_metric() -> None:
    """It did other work."""
    rows = Campaign(racers=(PYTORCH, dataclasses.replace(JAX, gate_passed=False))).rows()
    found = compared(rows, "python_pytorch", "python_jax", metric="memory_peak_bytes")

    assert not found.has_number
    assert "failed" in found.texts[0]


@given(st.floats(0.01, 100), st.floats(1.0, 2.0), st.floats(1.0, 2.0), st.floats(0.001, 0.5))
def test_the_drawn_interval_holds_its_marks_in_order(ratio: float, below: float, above: float, margin: float) -> None:
    """On one line of fixed width, in plain ASCII, whatever the numbers."""
    line, labels = interval_line(ratio / below, ratio, ratio * above, margin)

    assert line.isascii()
    assert labels.isascii()
    assert len(line) == len("less " + " more") + 61
    assert line.count("*") == 1
    assert "|" in line or abs(ratio - 1) < 0.5
    if "|" in line and "*" in line:
        assert (line.index("*") < line.index("|")) == (ratio < 1)
    if "[" in line:
        assert line.index("[") < line.index("*")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the small store."""
    return write_store(tmp_path_factory.mktemp("store"), small_rows()).path


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of a command."""
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_the_command_shows_both_clocks_and_ends_with_0(store: Path) -> None:
    """Each with its verdict first."""
    code, text, _ = run("compare", "python_pytorch", "julia_stdlib", "--workload", "mnist_mlp", "--store", str(store))

    assert code == 0
    assert text.count("julia_stdlib is slower than python_pytorch") == 2


def test_csv_and_json_hold_every_field(store: Path) -> None:
    """Of the same findings."""
    asked = ("compare", "python_pytorch", "python_jax", "--workload", "mnist_mlp", "--store", str(store), "--format")
    rows = list(csv.DictReader(io.StringIO(run(*asked, "csv")[1])))
    objects = json.loads(run(*asked, "json")[1])

    assert [(row["clock"], row["verdict"]) for row in rows] == [("train", "slower"), ("e2e", "slower")]
    assert [row["ratio"] for row in rows] == [repr(one["ratio"]) for one in objects]


def test_without_a_number_the_command_ends_with_1(store: Path) -> None:
    """And the sentence stands where the number would."""
    code, text, _ = run("compare", "elixir_beam", "julia_stdlib", "--store", str(store))
    machine = run("compare", "elixir_beam", "julia_stdlib", "--store", str(store), "--format", "json")

    assert (code, machine[0], machine[1]) == (1, 1, "[]\n")
    assert "were never run in the same heat" in text
    assert "were never run in the same heat" in machine[2]


def test_an_empty_store_is_said_and_ends_with_1(tmp_path: Path) -> None:
    """Nothing can be compared; the names may well be right."""
    code, text, error = run("compare", "python_pytorch", "python_jax", "--store", str(tmp_path))

    assert code == 1
    assert "There are no findings" in text
    assert "holds no records yet" in error


def test_a_message_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """What a runner wrote is shown, never obeyed."""
    crashing = dataclasses.replace(JAX, status="crashed", message="\x1b[31mred")
    path = write_store(tmp_path, Campaign(racers=(PYTORCH, crashing), heats=1).rows()).path

    assert "\x1b" not in run("compare", "python_pytorch", "python_jax", "--store", str(path))[1]
