"""An interval as a line of plain characters: no font, colour or width of a terminal is relied on (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable

WIDTH = 61
EDGE = 0.06  # of what is drawn is left empty on either side
LESS, MORE = "less ", " more"


def interval_line(low: float | None, ratio: float, high: float | None, margin_ratio: float | None) -> list[str]:
    """Return a line with the interval of a ratio on a log scale, and a line with the ratios below their marks.

    `*` is the ratio, `[` and `]` the ends of its 95 % interval, `|` equal, `(` and `)` the margin of a dead heat.
    Marks that fall into one column give way to the ratio, then to "equal"; a label without room is left out.

    >>> for line in interval_line(0.99, 1.01, 1.06, 0.03):
    ...     print(line.rstrip())
    less ----(----------[=====|=====*===========)================]---- more
           0.971      0.99    1   1.01        1.03             1.06
    """
    ends = [end for end in (low, high) if end is not None and 0 < end < math.inf]
    ends = ends if len(ends) == 2 else []
    margins = [] if margin_ratio is None else [1 / (1 + margin_ratio), 1 + margin_ratio]
    shown = [math.log(value) for value in (1.0, ratio, *ends, *margins)]
    first, last = min(shown), max(shown)
    width = (last - first or 1.0) / (1 - 2 * EDGE)

    def column(value: float) -> int:
        return round(((math.log(value) - first) / width + EDGE) * (WIDTH - 1))

    line = ["-"] * WIDTH
    for place in range(column(ends[0]), column(ends[1]) + 1) if ends else ():
        line[place] = "="
    for mark, value in [*zip("()", margins, strict=False), *zip("[]", ends, strict=False), ("|", 1.0), ("*", ratio)]:
        line[column(value)] = mark
    labels = [(column(value), f"{value:.3g}") for value in (1.0, *ends, *margins, ratio)]
    return [f"{LESS}{''.join(line)}{MORE}", f"{' ' * len(LESS)}{_placed(labels)}"]


def legend(margin_ratio: float | None) -> str:
    """Return what the marks mean.

    >>> legend(0.03)
    '* ratio   [ ] its 95 % interval   | equal   ( ) margin of a dead heat, 1/1.03 to 1.03'
    """
    margin = (
        "" if margin_ratio is None else f"   ( ) margin of a dead heat, 1/{1 + margin_ratio:g} to {1 + margin_ratio:g}"
    )
    return f"* ratio   [ ] its 95 % interval   | equal{margin}"


def _placed(labels: Iterable[tuple[int, str]]) -> str:
    """Return each text centred at its column, the first ones first; one that would touch another is left out."""
    line = " " * (WIDTH + 4)
    for place, text in labels:
        start = max(0, place - len(text) // 2)
        if not line[max(0, start - 1) : start + len(text) + 1].strip():
            line = line[:start] + text + line[start + len(text) :]
    return line.rstrip()
