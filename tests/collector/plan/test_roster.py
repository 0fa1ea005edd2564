"""The runners as a list: what each declares, its state here, and what nobody has run for real."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.cli.main import app
from collector.cli.runner_commands import EXACT, SHOWN, exact_row, shown_row, state_lines
from collector.plan.roster import Found, list_contenders
from collector.plan.runner import Description, Runner, RunnerError, known_runners, read_runner
from collector.plan.workload import known_workloads
from store.database import Rows
from store.output import Format, write_rows, write_table
from store.roster import ROSTER, RosterError, by_reason, read_roster, roster_text

OWL = """
name = "cobol_owl"
language = "COBOL"
framework = "Owl"
class = "framework"
command = ["{python}", "{folder}/run.py"]
install = "make owl"
workloads = ["mnist_mlp", "mnist_lenet"]
devices = ["cpu", "cuda"]
dtypes = ["fp32", "tf32"]

[variants.plain]
family = "owl"
default = true

[variants.fast]
family = "barn"
workloads = ["mnist_mlp"]
dtypes = ["fp32"]

[unverified]
"""


def owl(folder: Path, unverified: str = "") -> Runner:
    (folder / "cobol_owl").mkdir(parents=True, exist_ok=True)
    (folder / "cobol_owl" / "runner.toml").write_text(OWL + unverified, encoding="utf-8")
    return read_runner("cobol_owl", folder)


def ready(runner: Runner) -> Found:
    versions = {"language_version": "85", "framework_version": "0.1"}
    return Found(runner=runner, told=Description(versions=versions, devices=("cpu",)), reason="")


def test_the_roster_in_the_store_is_that_of_the_runners():
    """`make schema` writes it anew: the analysis must not import the collector."""
    assert ROSTER.read_text(encoding="utf-8") == roster_text(list_contenders())
    assert {one.runner for one in read_roster()} == set(known_runners())


def test_an_entry_is_told_only_what_concerns_it(tmp_path):
    """Not what another variant is, nor what its own variant does not offer."""
    owl(tmp_path, 'cuda = "no GPU"\nfast = "no barn"\ntf32 = "no GPU"\nmnist_lenet = "too late"\n"Owl 2" = "too new"\n')
    plain, fast = list_contenders(tmp_path)

    assert plain.unverified == {"cuda": "no GPU", "tf32": "no GPU", "mnist_lenet": "too late", "Owl 2": "too new"}
    assert fast.unverified == {"cuda": "no GPU", "fast": "no barn", "Owl 2": "too new"}
    assert (plain.whole, fast.whole) == ("", "no barn")


def test_a_whole_runner_can_be_unverified(tmp_path):
    """By its own name: then each of its entries is."""
    runner = owl(tmp_path, 'cobol_owl = "no COBOL could be had"\n')

    assert [one.whole for one in list_contenders(tmp_path)] == ["no COBOL could be had"] * 2
    assert ready(runner).state == "ready, not yet verified"


def test_a_runner_without_workloads_claims_them_all(tmp_path):
    """A model is then added in its code alone; a variant names what it lacks."""
    folder = tmp_path / "cobol_owl"
    text = OWL.replace('workloads = ["mnist_mlp", "mnist_lenet"]\n', "").replace(
        'workloads = ["mnist_mlp"]', 'lacks = ["mnist_cnn"]'
    )
    folder.mkdir()
    (folder / "runner.toml").write_text(text, encoding="utf-8")
    offered = {name: read_runner("cobol_owl", tmp_path).offers(name)["workload"] for name in ("plain", "fast")}

    assert offered["plain"] == known_workloads()
    assert set(offered["plain"]) - set(offered["fast"]) == {"mnist_cnn"}
    (folder / "runner.toml").write_text(text.replace('["mnist_cnn"]', '["mnist_owl"]'), encoding="utf-8")
    with pytest.raises(RunnerError, match="variants.fast.lacks names 'mnist_owl', which the runner's own"):
        read_runner("cobol_owl", tmp_path)


def test_a_headline_that_nobody_has_run_stands_back(tmp_path):
    """For the first variant of the file that somebody has; where nothing was run, it stays."""
    assert owl(tmp_path).default_variant == "plain"
    assert owl(tmp_path, 'plain = "no owl"\n').default_variant == "fast"
    assert [one.is_headline for one in list_contenders(tmp_path)] == [False, True]
    assert owl(tmp_path, 'plain = "no owl"\nfast = "no barn"\n').default_variant == "plain"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('exla = "why"', r"unverified: got .*'exla' is not declared here; expected cobol_owl, one of its variants"),
        ('Owls = "why"', r"'Owls' is not declared here; .* such as \"Owl 1.2\""),
        ('cuda = ""', r"unverified.cuda: got ''; string should have at least 1 character"),
        ("cuda = true", r"unverified.cuda: got True; input should be a valid string"),
    ],
)
def test_what_is_not_declared_cannot_be_unverified(tmp_path, line, message):
    """A misspelt name would be believed to be verified."""
    with pytest.raises(RunnerError, match=message):
        owl(tmp_path, line)


def test_a_person_sees_versions_families_devices_and_the_state(tmp_path):
    """One line each in the table; reasons below it, things with the same reason together."""
    runner = owl(tmp_path, 'cuda = "no GPU"\ntf32 = "no GPU"\nfast = "no barn"\n')
    absent = Found(runner=owl(tmp_path), told=None, reason="no owl. To install it: make owl")

    assert shown_row(ready(runner)) == (
        "cobol_owl", "COBOL 85", "Owl 0.1", "owl, barn", "cpu, cuda", "ready\nin part not yet verified",
    )  # fmt: skip
    assert shown_row(absent)[1:3] + shown_row(absent)[5:] == ("COBOL", "Owl", "unavailable")
    assert state_lines([ready(runner), absent]) == [
        "cobol_owl: plain (owl); fast (barn)",
        "  not yet verified: cuda, tf32: no GPU",
        "  not yet verified: fast: no barn",
        "cobol_owl: plain (owl); fast (barn)",
        "  unavailable: no owl. To install it: make owl",
    ]


def test_a_program_gets_everything(tmp_path, capsys):
    """Claimed and found devices apart, reasons by name."""
    write_rows(Rows(EXACT, [exact_row(ready(owl(tmp_path, 'cuda = "no GPU"\n')))]), Format.JSON)
    (row,) = json.loads(capsys.readouterr().out)

    assert row["variants"] == {"plain": "owl", "fast": "barn"}
    assert (row["devices"], row["devices_found"]) == (["cpu", "cuda"], ["cpu"])
    assert row["unverified"] == {"cuda": "no GPU"}


def test_every_runner_is_listed():
    """Each once, with a state, whatever this machine has."""
    answer = CliRunner().invoke(app, ["runners", "--format", "json"])
    listed = json.loads(answer.output)

    assert [row["runner"] for row in listed] == known_runners()
    assert all(row["state"].startswith("ready") == (row["unavailable"] == "") for row in listed)


def test_on_a_narrow_terminal_the_names_stay_whole(monkeypatch, capsys, tmp_path):
    """The rest is folded, and no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_table(Rows(SHOWN, [shown_row(ready(owl(tmp_path, 'cuda = "no GPU"\n')))]), break_words=False)
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    assert any("cobol_owl" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("text", ["{", '{"contenders": [{"runner": "a"}]}'])
def test_a_damaged_roster_is_named(tmp_path, text):
    """With what to do."""
    (tmp_path / "roster.json").write_text(text)

    with pytest.raises(RosterError, match=r"roster\.json: (cannot be read|contenders\.0\.variant: is missing)"):
        read_roster(tmp_path / "roster.json")


def test_things_with_the_same_reason_stand_together():
    """In the order in which they were declared."""
    assert by_reason({"cuda": "a", "exla": "b", "tf32": "a"}) == [("cuda, tf32", "a"), ("exla", "b")]
