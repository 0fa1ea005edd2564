"""The findings as Markdown for a pull request: a table of verdicts, and everything else folded away (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.findings.comparison import Verdict
from analysis.findings.finding import Finding, entry_name
from analysis.rendering import tables
from analysis.rendering.wording import difference_words, interval_words, seconds, sentence
from analysis.results.results import Measured
from analysis.terminal.explanation import why
from analysis.terminal.report import by_cell, why_none

COLUMNS = ("", "entry", "against", "clock", "took", "against took", "difference", "95 % interval", "heats", "verdict")
# A mention of a person or of an issue is looked for after the escapes are gone: a space without width parts it.
ACTIVE = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]<>|~$"} | {ord(sign): f"{sign}\u200b" for sign in "@#"}


def markdown_report(
    findings: Sequence[Finding], measured: Measured, machines: Mapping[str, str], warnings: Sequence[str] = ()
) -> str:
    """Return the findings as GitHub-flavoured Markdown.

    Parameters
    ----------
    machines
        The machine of each environment, in words.
    warnings
        What was wrong with them.
    """
    if not findings:
        return f"{why_none(measured)}\n"
    parts = [f"**deadheat:** {counts(findings)}\n"]
    for title, group in by_cell(findings):
        cell = group[0].cell
        machine = machines.get(cell.environment_id, cell.environment_id)
        parts.append(f"### {plain(title)}\n\ncampaign {plain(cell.campaign_id)}, {plain(machine)}\n\n{table(group)}\n")
        parts.append(details(group, measured))
    parts += [f"> **Warning:** {plain(words)}\n" for words in warnings]
    return "\n".join(parts)


def counts(findings: Sequence[Finding]) -> str:
    """Return how many verdicts there are of each kind, in their order."""
    verdicts = [finding.verdict for finding in findings]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)


def table(findings: Sequence[Finding]) -> str:
    """Return a row per finding of one cell."""
    rows = [COLUMNS, tuple("--:" if name in ("took", "against took", "heats") else "---" for name in COLUMNS)]
    rows += [_row(finding) for finding in findings]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def details(findings: Sequence[Finding], measured: Measured) -> str:
    """Return each finding as a sentence with its reasons, folded."""
    told = []
    for finding in findings:
        reasons = [f"  - {name}: {plain(text)}" for name, text in why(finding, measured).lines]
        told += [f"- {plain(sentence(finding))}", *reasons]
    return "<details>\n<summary>Why</summary>\n\n" + "\n".join(told) + "\n\n</details>\n"


def plain(text: str) -> str:
    r"""Return text that Markdown leaves as it is, on one line: no mark-up, and nobody is notified.

    >>> print(plain("*a* | <b>"))
    \*a\* \| \<b\>
    """
    return " ".join(text.split()).translate(ACTIVE)


def _row(finding: Finding) -> tuple[str, ...]:
    mark = tables.VERDICT_MARKS[finding.verdict]
    cells = (
        entry_name(finding.candidate, is_headline=finding.candidate_headline),
        entry_name(finding.baseline, is_headline=finding.baseline_headline),
        finding.clock,
        seconds(finding.candidate_value),
        seconds(finding.baseline_value),
        difference_words(finding),
        interval_words(finding),
        str(finding.heats),
    )
    return (mark, *map(plain, cells), f"**{finding.verdict}**")
