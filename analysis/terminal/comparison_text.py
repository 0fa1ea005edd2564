"""Two entries against each other, for the terminal: the verdict first, then the numbers, then why (pure)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from analysis.findings.comparison import Verdict
from analysis.findings.finding import Cell, Finding, entry_name
from analysis.rendering.wording import cell_words, difference, difference_words, interval_words, value_words
from analysis.terminal.explanation import Why
from analysis.terminal.interval_line import interval_line, legend

WIDTH = 100  # of a line of prose
AGAINST = "{candidate} against {baseline}"
OPENINGS = {
    Verdict.FASTER: "{candidate} is faster than {baseline}",
    Verdict.SLOWER: "{candidate} is slower than {baseline}",
    Verdict.DEAD_HEAT: "Dead heat: {candidate} and {baseline} take the same time within {margin:g} %",
    Verdict.UNDECIDED: f"Undecided, {AGAINST}",
    Verdict.INSUFFICIENT: f"No verdict yet, {AGAINST}",
    Verdict.NOT_RANKED: f"Not ranked, {AGAINST}",
}


def comparison_text(finding: Finding, why: Why, machine: str, earlier: Sequence[Finding] = ()) -> str:
    """Return a finding as a short text.

    Parameters
    ----------
    machine
        Where it was measured, in words.
    earlier
        The same comparison in other campaigns, which are never pooled with this one.
    """
    lines = [
        f"{verdict_words(finding)}: {finding.cell.workload}, {work_words(finding)}",
        *_place(finding.cell, machine),
    ]
    if finding.ratio is not None:
        lines += ["", *number_lines(finding), "", *_drawn(finding)]
    else:
        lines += ["", *_wrapped(_sentence(finding.reason), "  ", "  ")]
    lines += ["", *(line for name, text in why.lines for line in _paragraph(name, text))]
    lines += [line for one in earlier for line in _paragraph("earlier", _earlier(one))]
    return "\n".join(lines) + "\n"


def verdict_words(finding: Finding) -> str:
    """Return the verdict with who it is about.

    What has no verdict by design, because no margin was fixed for its metric, says so.
    """
    baseline, candidate = names(finding)
    opening = OPENINGS[finding.verdict]
    if not finding.clock:
        opening = f"No {'number' if finding.ratio is None else 'verdict'}, {AGAINST}"
    return opening.format(candidate=candidate, baseline=baseline, margin=100 * finding.margin_ratio)


def work_words(finding: Finding) -> str:
    """Return what was measured: the clock and what was timed on it, or the metric."""
    if not finding.clock:
        return finding.metric
    return f"{finding.clock} clock, {'per run' if finding.epochs_to_target is None else 'to the target accuracy'}"


def number_lines(finding: Finding) -> list[str]:
    """Return both entries with their values, each with its difference from the other, then the interval."""
    ways = both_ways(finding)
    rows = [f"{value}   {words}" for value, words in zip(_values(finding), ways, strict=True)]
    heats = f"{finding.heats} heat{'' if finding.heats == 1 else 's'}"
    interval = "no interval below 6 heats"
    if finding.ratio_low is not None and finding.ratio_high is not None:
        interval = f"95 % interval {finding.ratio_low:.4g} to {finding.ratio_high:.4g} ({_wide(finding)})"
    rows.append(f"  ratio {finding.ratio:.4g}, {interval}, {heats}")
    if finding.hodges_lehmann_ratio is not None:
        ranks = f"{finding.hodges_lehmann_low:.4g} to {finding.hodges_lehmann_high:.4g}"
        rows.append(f"  by signed ranks {finding.hodges_lehmann_ratio:.4g}, {ranks} (Hodges–Lehmann)")
    return rows


def both_ways(finding: Finding) -> tuple[str, str]:
    """Return the difference of the baseline from the candidate, and that of the candidate from the baseline.

    34.2 % longer one way is 25.5 % less the other way: each has its own base.
    """
    baseline, candidate = names(finding)
    ratio, low, high = finding.ratio or 1.0, finding.ratio_low, finding.ratio_high
    there = back = None
    if low is not None and high is not None:
        there, back = high - low, 1 / low - 1 / high
    verb = "takes" if finding.unit == "s" else "has"
    if ratio == 1:
        return f"{verb} the same as {candidate}", f"{verb} the same as {baseline}"
    return (
        f"{verb} {_in_unit(finding, difference(1 / ratio, candidate, back))}",
        f"{verb} {_in_unit(finding, difference(ratio, baseline, there))}",
    )


def names(finding: Finding) -> tuple[str, str]:
    """Return baseline and candidate as people write them."""
    return (
        entry_name(finding.baseline, is_headline=finding.baseline_headline),
        entry_name(finding.candidate, is_headline=finding.candidate_headline),
    )


def newest_first(findings: Iterable[Finding], order: Sequence[str]) -> list[list[Finding]]:
    """Return the findings of equal work on the same clock together, the newest campaign's first.

    Parameters
    ----------
    order
        Campaigns, the newest first.
    """
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        cell = finding.cell
        key = (
            finding.clock,
            finding.metric.removeprefix("time_to_target_"),
            cell_words(cell),
            cell.workload,
            cell.track,
        )
        groups.setdefault(key, []).append(finding)
    place = {campaign_id: number for number, campaign_id in enumerate(order)}
    return [sorted(group, key=lambda f: place.get(f.cell.campaign_id, len(place))) for group in groups.values()]


def _place(cell: Cell, machine: str) -> list[str]:
    return _wrapped(f"{cell_words(cell)}; campaign {cell.campaign_id}, {machine}", "  ", "  ")


def _values(finding: Finding) -> list[str]:
    who, width = names(finding), max(map(len, names(finding)))
    shown = [value_words(value, finding.unit) for value in (finding.baseline_value, finding.candidate_value)]
    longest = max(map(len, shown))
    return [f"  {name:<{width}}   {value:>{longest}}" for name, value in zip(who, shown, strict=True)]


def _drawn(finding: Finding) -> list[str]:
    margin = finding.margin_ratio if finding.clock else None
    drawn = interval_line(finding.ratio_low, finding.ratio or 1.0, finding.ratio_high, margin)
    return [f"  {line}" for line in (*drawn, legend(margin))]


def _wide(finding: Finding) -> str:
    return _in_unit(finding, interval_words(finding))


def _in_unit(finding: Finding, words: str) -> str:
    """Return a difference in the words of its unit: only seconds are long."""
    return words if finding.unit == "s" else words.replace("longer", "more").replace("as long as", "as much as")


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."


def _earlier(finding: Finding) -> str:
    told = f"campaign {finding.cell.campaign_id}: {finding.verdict}"
    if finding.ratio is None:
        return f"{told} ({finding.reason})"
    return f"{told}, {_in_unit(finding, difference_words(finding))}, {finding.heats} heats; never pooled with this one"


def _paragraph(name: str, text: str) -> list[str]:
    return _wrapped(text, f"  {name:<8} ", " " * 11)


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
