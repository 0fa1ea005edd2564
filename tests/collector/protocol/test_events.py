"""Events are decoded strictly; each way to go wrong has one message."""

from __future__ import annotations

import json

import pytest

from collector.protocol.events import EventError, decode_events

GOOD = [
    {"kind": "run_start", "at_ns": 10, "unix_ns": 1, "pid": 2},
    {"kind": "import_stop", "at_ns": 11},
    {"kind": "load_stop", "at_ns": 12},
    {"kind": "preprocess_stop", "at_ns": 13},
    {"kind": "build_stop", "at_ns": 14, "parameters": 5},
    {"kind": "compile_stop", "at_ns": 15},
    {"kind": "epoch_start", "at_ns": 16, "epoch": 1},
    {"kind": "first_step_stop", "at_ns": 17},
    {"kind": "chunk_stop", "at_ns": 18, "steps": 3},
    {"kind": "epoch_stop", "at_ns": 19, "epoch": 1.0, "examples": 9, "train_loss": 0.5, "data_wait_s": 0.0},
    {"kind": "eval_start", "at_ns": 20, "epoch": 1.0},
    {"kind": "eval_stop", "at_ns": 21, "epoch": 1.0, "examples": 4, "correct": 3, "loss": 0.4},
    {"kind": "run_stop", "at_ns": 22, "flushes_subnormals": True},
]


def text_of(events: list[dict]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_a_good_file_is_decoded():
    """Every kind arrives as its type."""
    assert [event.kind for event in decode_events(text_of(GOOD))] == [event["kind"] for event in GOOD]


@pytest.mark.parametrize("last", ["diverged", "unsupported"])
def test_a_run_may_end_early(last):
    """Divergence and refusal are endings wherever they come."""
    fields = {"epoch": 1.0} if last == "diverged" else {}
    events = [*GOOD[:8], {"kind": last, "at_ns": 30, "message": "because", **fields}]

    assert decode_events(text_of(events))[-1].kind == last


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected run_start first"),
        (text_of(GOOD) + '{"kind": "run', r"line 14: is cut off"),
        (text_of(GOOD[:2]) + "hello\n", r"line 3: is not JSON \('hello'\)"),
        (text_of([{"kind": "coffee_break", "at_ns": 1}]), "line 1: unknown kind in .*coffee_break.*expected"),
        (text_of(GOOD[:6] + GOOD[10:]), "line 7: eval_start after compile_stop; expected epoch_start"),
        (text_of(GOOD[:3]), "ends with load_stop; expected run_stop"),
        (text_of([*GOOD, GOOD[-1]]), "line 14: run_stop after run_stop; expected no further event"),
        (text_of(GOOD).replace('"train_loss": 0.5', '"train_loss": NaN'), "line 10: .*train_loss: got nan.*'diverged'"),
        (text_of(GOOD).replace('"examples": 9', '"examples": "9"'), r"line 10: .*examples: got '9'"),
        (text_of(GOOD).replace('"examples": 9, ', ""), r"line 10: .*examples: .*field required"),
        (text_of(GOOD).replace('"at_ns": 13', '"at_ns": 3'), "line 4: preprocess_stop.at_ns is 3, before line 3's 12"),
        (text_of(GOOD[:7] + GOOD[8:]), r"first_step_stop stands on lines \[\]; expected it once"),
    ],
)
def test_bad_files_are_refused(text, message):
    """The line, what is wrong with it and what was expected are told."""
    with pytest.raises(EventError, match=message):
        decode_events(text)
