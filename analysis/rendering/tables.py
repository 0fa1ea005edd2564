"""Values become words and tables (pure). Units are scaled here and on chart axes, nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from analysis.findings.comparison import Verdict
from analysis.frames.columns import is_absent

NOTHING = "–"
# Shape and word beside every colour; the shapes are those of the forest plot.
VERDICT_MARKS = {
    Verdict.FASTER: "◀",
    Verdict.SLOWER: "▶",
    Verdict.DEAD_HEAT: "■",
    Verdict.UNDECIDED: "●",
    Verdict.INSUFFICIENT: "◆",
    Verdict.NOT_RANKED: "✕",
}
ACTIVE_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "&<>\"'\\`*_{}[]()#+-!|~^=:$@"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its caption. Cells that are `Markup` are written as they are, all others as plain text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numeric: Sequence[str] = ()  # columns set flush right
    prose: Sequence[str] = ()  # columns whose lines may be broken


def html(table: Table) -> Markup:
    """Return a table as HTML with row and column headers; one without rows says so."""
    if not table.rows:
        return Markup(f"<p>{escape(table.caption)}: none.</p>")
    kinds = [_kind(name, table) for name in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    body = "\n".join(_row(row, kinds) for row in table.rows)
    caption = f"<caption><span>{escape(table.caption)}</span></caption>"
    return Markup(f"<table>\n{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>")


def inert(text: str) -> Markup:
    """Return text that Markdown and HTML leave as it is, whatever a runner wrote into it.

    >>> inert("*a* <b>")
    Markup('&#42;a&#42; &#60;b&#62;')
    """
    return Markup(" ".join(text.split()).translate(ACTIVE_SIGNS))


def link(address: str, text: str) -> Markup:
    """Return a link."""
    return Markup('<a href="{}">{}</a>').format(address, text)


def code(text: str) -> Markup:
    """Return text set as code."""
    return Markup("<code>{}</code>").format(text)


def pill(verdict: Verdict) -> Markup:
    """Return a verdict as a word with its shape."""
    name = str(verdict).replace(" ", "-")
    mark = VERDICT_MARKS[verdict]
    return Markup('<span class="dh-verdict dh-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        name, mark, str(verdict)
    )


def memory(value: float | None) -> str:
    """Return bytes in the largest binary unit that leaves a number above 1.

    >>> memory(3 * 2**30), memory(1_500_000), memory(None)
    ('3.00 GiB', '1.43 MiB', '–')
    """
    if is_absent(value) or value is None:
        return NOTHING
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{value / size:,.0f} {unit}" if value >= 100 * size else f"{value / size:#.3g} {unit}"
    return f"{value:.0f} B"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """Return a fraction as a percentage.

    >>> percent(0.9612), percent(None)
    ('96.1 %', '–')
    """
    return NOTHING if is_absent(fraction) or fraction is None else f"{100 * fraction:.{decimals}f} %"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number without a unit to a few digits, whole from a thousand on.

    >>> number(0.012345), number(12345.6), number(None)
    ('0.0123', '12,346', '–')
    """
    if is_absent(value) or value is None:
        return NOTHING
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:,.{digits}g}"


def count(value: int, noun: str, plural: str = "s") -> str:
    """Return a number of things.

    >>> count(1, "heat"), count(2, "heat"), count(2, "pass", "es")
    ('1 heat', '2 heats', '2 passes')
    """
    return f"{value} {noun}{'' if value == 1 else plural}"


def moment(value: datetime) -> str:
    """Return a time of day, UTC.

    >>> moment(datetime(2026, 1, 2, 3, 4))
    '2 January 2026, 03:04 UTC'
    """
    return f"{value.day} {value:%B %Y, %H:%M} UTC"


def span(first: datetime, last: datetime) -> str:
    """Return from when to when, UTC; a day that is the same is said once.

    >>> span(datetime(2026, 1, 2, 3, 4), datetime(2026, 1, 2, 5, 6))
    '2 January 2026, 03:04 to 05:06 UTC'
    """
    if first.date() == last.date():
        return f"{first.day} {first:%B %Y, %H:%M} to {last:%H:%M} UTC"
    return f"{moment(first)} to {moment(last)}"


def _row(cells: Sequence[object], kinds: Sequence[str]) -> str:
    rest = "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(cells[1:], kinds[1:], strict=True))
    return f'<tr><th scope="row"{kinds[0]}>{_text(cells[0])}</th>{rest}</tr>'


def _text(cell: object) -> Markup:
    if isinstance(cell, str):  # a str that is Markup stays as it is
        return escape(cell)
    return escape(NOTHING if is_absent(cell) else str(cell))


def _kind(column: str, table: Table) -> str:
    if column in table.numeric:
        return ' class="dh-number"'
    return ' class="dh-prose"' if column in table.prose else ""
