"""Tables and the words in their cells."""

from __future__ import annotations

import datetime
import re

import markdown
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from analysis.findings.comparison import Verdict
from analysis.rendering.tables import (
    NOTHING,
    VERDICT_MARKS,
    Table,
    html,
    inert,
    is_absent,
    link,
    memory,
    moment,
    number,
    percent,
    pill,
)
from tests.analysis.sites import HOSTILE, visible_text

PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn")), max_size=60)


def table(**changes: object) -> Table:
    """Return a table of one row, with `changes`."""
    values: dict[str, object] = {"caption": "What it holds", "columns": ("entry", "took"), "rows": [("a", "1.00 s")]}
    return Table(**(values | changes))  # type: ignore[arg-type]


def test_a_table_has_a_caption_and_headers_for_columns_and_rows() -> None:
    """A screen reader can say where it is."""
    text = html(table())

    assert "<caption><span>What it holds</span></caption>" in text
    assert '<th scope="col">entry</th>' in text
    assert '<th scope="row">a</th>' in text


def test_numeric_columns_are_marked_in_head_and_body() -> None:
    """Digits stand below digits."""
    text = html(table(numeric=("took",)))

    assert '<th scope="col" class="dh-number">took</th>' in text
    assert '<td class="dh-number">1.00 s</td>' in text


def test_a_table_without_rows_says_so() -> None:
    """An empty frame of lines would look like a mistake."""
    assert visible_text(html(table(rows=[]))) == "What it holds: none."


def test_plain_text_in_a_cell_is_never_markup() -> None:
    """What a runner wrote is shown, not obeyed."""
    text = html(table(rows=[("a", HOSTILE)]))

    assert "<script" not in text
    assert HOSTILE in visible_text(text)


def test_markup_in_a_cell_is_kept() -> None:
    """A link stays a link, its text and address are escaped."""
    text = html(table(rows=[(link("runs/a.html?x=1&y=2", "<a>"), None)]))

    assert '<a href="runs/a.html?x=1&amp;y=2">&lt;a&gt;</a>' in text
    assert f"<td>{NOTHING}</td>" in text


@given(PLAIN)
def test_inert_text_comes_out_of_markdown_as_it_went_in(text: str) -> None:
    """No sign in it starts emphasis, a link, code, a table or HTML."""
    made = markdown.markdown(f"x {inert(text)} y", extensions=["attr_list", "tables", "footnotes", "def_list"])

    assert re.sub(r"</?p>", "", made).count("<") == 0
    assert visible_text(made) == " ".join(f"x {text} y".split())


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_is_a_shape_and_a_word(verdict: Verdict) -> None:
    """Colour is never the only sign; the shape is not read aloud."""
    text = pill(verdict)

    assert visible_text(text) == f"{VERDICT_MARKS[verdict]} {verdict}"
    assert f'<span aria-hidden="true">{VERDICT_MARKS[verdict]}</span>' in text
    assert len(set(VERDICT_MARKS.values())) == len(Verdict)


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (539 * 2**20, "539 MiB"), (2**40, "1,024 GiB"), (None, NOTHING)],
)
def test_memory_is_said_in_the_unit_that_fits(size_bytes: int | None, words: str) -> None:
    """Three digits, never an exponent."""
    assert memory(size_bytes) == words


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT, pd.NA])
def test_what_a_frame_has_no_value_for_is_absent(nothing: object) -> None:
    """Whatever pandas puts there."""
    assert is_absent(nothing)


@pytest.mark.parametrize("something", [0, 0.0, "", False, "nan", Markup("x"), [None]])
def test_a_value_is_not_absent(something: object) -> None:
    """Nought and an empty text are values."""
    assert not is_absent(something)


def test_a_share_a_number_and_a_moment_are_said_with_their_unit() -> None:
    """Round numbers come out round."""
    noon = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=datetime.UTC)

    assert percent(0.96) == "96.0 %"
    assert percent(float("nan")) == NOTHING
    assert number(12345.6) == "12,346"
    assert number(None) == NOTHING
    assert moment(noon) == "21 November 2026, 12:00 UTC"
