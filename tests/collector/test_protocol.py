"""The contract in words, the schemas and the types say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collector.cli.schema import PROTOCOL, schemas
from collector.protocol.trial import TrialError, TrialFile, encode_trial

README = (PROTOCOL / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_schemas_are_up_to_date(name):
    """`make schema` writes them anew."""
    assert (PROTOCOL / name).read_text(encoding="utf-8") == schemas()[name]


def test_every_trial_key_is_in_the_contract():
    """Nobody has to read our code to write a runner."""
    keys = [field.alias or name for name, field in TrialFile.model_fields.items()]

    assert [key for key in keys if f"`{key}`" not in README] == []


def test_every_event_and_its_fields_are_in_the_contract():
    """A field that is not documented cannot be relied on."""
    definitions = json.loads(schemas()["event.schema.json"])["$defs"].values()
    words = {w for d in definitions for w in (*d["properties"], *_kinds(d["properties"]["kind"]))} - {"kind"}

    assert [word for word in sorted(words) if f"`{word}`" not in README] == []


def _kinds(kind: dict) -> list[str]:
    return kind.get("enum") or [kind["const"]]


def trial(**changes: object) -> TrialFile:
    content = {
        "batch_size": 2, "chunks_per_epoch": 20, "data.classes": 10, "data.format": "idx", "data.mean": [0.1],
        "data.std": [0.3], "data.test_images": "a", "data.test_labels": "b", "data.train_images": "c",
        "data.train_labels": "d",
        "device": "cpu", "dtype": "fp32", "epochs": 1, "eval_batch_size": 10, "evaluations_per_epoch": 4,
        "loader": "resident", "loader_workers": 0, "loss": "softmax_cross_entropy", "mode": "train", "model": "mlp",
        "model.dropout_rate": 0.5, "model.hidden_units": 128, "optimizer": "adam", "optimizer.beta1": 0.9,
        "optimizer.beta2": 0.999, "optimizer.epsilon": 1e-8, "optimizer.learning_rate": 0.001,
        "optimizer.schedule": "constant", "optimizer.weight_decay": 0.0, "order": "o", "output": "p",
        "runner": "r", "seed": 1, "steps": 0, "threads": 1, "variant": "v", "weights": "w",
        "workload": "mnist_mlp", **changes,
    }  # fmt: skip
    return TrialFile.model_validate(content)


def test_a_trial_is_one_sorted_key_a_line():
    """A language without a JSON library reads it line by line."""
    lines = encode_trial(trial()).splitlines()

    assert (lines[0], lines[-1]) == ("{", "}")
    keys = [line.split('"')[1] for line in lines[1:-1]]
    assert keys == sorted(keys)
    assert "model.hidden_units" in keys
    assert "optimizer.momentum" not in keys


def test_a_trial_comes_back_as_it_was_written():
    """Unicode in a path included."""
    written = trial(order=str(Path("/data/größe") / "order.npy"))

    assert TrialFile.model_validate_json(encode_trial(written)) == written


@pytest.mark.parametrize("bad", ['a"b', "a\\b", "a\nb"])
def test_strings_that_need_escapes_are_refused(bad):
    """Line readers could not undo them."""
    with pytest.raises(TrialError, match="weights: got .*expected no quote, backslash or control"):
        encode_trial(trial(weights=bad))
