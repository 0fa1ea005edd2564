"""Two entries against each other: every finding there is, or why there is none (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.findings.finding import CLOCKS, Finding
from analysis.frames.prices import Rates
from analysis.rendering.cost_words import cost_note, known_seconds
from analysis.results.results import Measured
from analysis.terminal.comparison_text import comparison_text, newest_first
from analysis.terminal.explanation import cell_runs, why, why_apart
from analysis.terminal.metric_comparison import observed
from analysis.terminal.report import campaign_order, compared, find_entry, find_metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """What there is to say about two entries; `apart` says why there is no finding at all, else it is empty."""

    measured: Measured
    findings: Sequence[Finding]
    apart: str
    rates: Rates  # machines and what an hour of them costs

    @property
    def has_number(self) -> bool:
        """Whether anything could be compared."""
        return any(finding.ratio is not None for finding in self.findings)

    @property
    def texts(self) -> list[str]:
        """One text per work and clock: that of the newest campaign, with earlier ones in a line each."""
        groups = newest_first(self.findings, campaign_order(self.measured.runs))
        return [
            comparison_text(
                group[0],
                replace(why(group[0], self.measured), price=self.price_words(group[0])),
                self.rates.machine(group[0].cell.environment_id),
                group[1:],
            )
            for group in groups
        ]

    def price_words(self, finding: Finding) -> str:
        """Return what the target costs on both, where a price is known; it goes with the seconds end to end."""
        price = self.rates.of(finding.cell.environment_id)
        if price is None or finding.clock != "e2e" or finding.ratio is None or finding.epochs_to_target is None:
            return ""
        runs = cell_runs(self.measured.runs, finding.cell)
        epochs = self.measured.epochs
        known = known_seconds(finding.cell, runs, epochs[epochs["run_id"].isin(runs["run_id"])])
        return cost_note(finding, known, price)


def versus(
    measured: Measured,
    measurements: pd.DataFrame,
    rates: Rates,
    names: tuple[str, str],
    *,
    workload: str | None = None,
    metric: str | None = None,
) -> Versus:
    """Return the second entry against the first, on both clocks or on one metric.

    Raises
    ------
    ResultsError
        If an entry, the workload or the metric is not known.
    """
    chosen = None if metric is None else find_metric(metric)
    findings = compared(measured, *names, workload=workload)
    if chosen in CLOCKS:
        findings = [finding for finding in findings if finding.clock == chosen]
    elif chosen is not None:
        once = [finding for finding in findings if finding.clock == CLOCKS[0]]
        findings = [observed(finding, measured.runs, measurements, chosen) for finding in once]
    apart = ""
    if not findings:
        first, second = (find_entry(measured, name) for name in names)
        apart = why_apart(measured, first, second, workload, rates.machines)
    return Versus(measured=measured, findings=findings, apart=apart, rates=rates)
