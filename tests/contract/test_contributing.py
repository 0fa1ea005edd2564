"""What CONTRIBUTING.md shows is what the runners have: whoever follows it finds it so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.plan.runner import RUNNERS, read_runner
from collector.plan.workload import known_workloads

GUIDE = (Path(__file__).parent.parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODELS = {"julia": RUNNERS / "julia_flux" / "model.jl", "elixir": RUNNERS / "elixir_axon" / "model.ex"}
BLOCKS = [(language, code) for language in MODELS for code in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)]


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=[f"{name}-{len(code)}" for name, code in BLOCKS])
def test_the_code_of_the_walk_through_stands_in_the_runners_model_file(language, code):
    """To the letter."""
    assert code in MODELS[language].read_text(encoding="utf-8")


def test_the_walk_through_shows_both_languages():
    """The function and its line in Flux, the two clauses in Axon."""
    assert [language for language, _ in BLOCKS] == ["julia", "julia", "elixir", "elixir"]


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_no_other_file_of_the_runner_names_a_model(model):
    """One file is all that is touched."""
    others = [path for path in model.parent.iterdir() if path.suffix == model.suffix and path != model]

    assert others
    assert not [path.name for path in others if '"lenet5"' in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", ["julia_flux", "elixir_axon"])
def test_a_model_is_added_without_touching_the_definition(name):
    """It claims every workload; what its code does not have it declines."""
    assert read_runner(name).workloads == known_workloads()
