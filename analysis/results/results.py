"""What the store holds, as pages and terminal alike are made of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from analysis.findings.find import find_all
from analysis.findings.finding import Finding
from analysis.frames.prices import Price
from analysis.frames.validity import marked
from store.errors import DeadheatError
from store.roster import Contender
from store.snapshot import Snapshot
from store.study import Study


class ResultsError(DeadheatError):
    """Something asked of the results that they do not have, or a site that cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The frames that findings are made of (see `analysis.frames.views`)."""

    runs: pd.DataFrame  # of each heat's last complete attempt
    epochs: pd.DataFrame
    unavailable: pd.DataFrame
    gates: pd.DataFrame  # every result there ever was

    def findings(self) -> list[Finding]:
        """Return every finding."""
        return find_all(self.runs, self.epochs, self.unavailable, self.gates)

    def against(self, baseline: str) -> Measured:
        """Return the same measurements with another baseline, as no suite planned it."""
        return replace(self, runs=self.runs.assign(baseline=baseline))


def measured_of(runs: pd.DataFrame, epochs: pd.DataFrame, unavailable: pd.DataFrame, gates: pd.DataFrame) -> Measured:
    """Return the frames of a store; runs whose seconds cannot be are failures that say so."""
    return Measured(runs=marked(runs, epochs), epochs=epochs, unavailable=unavailable, gates=gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that pages are made of, except single readings."""

    measured: Measured
    findings: list[Finding]
    runs: pd.DataFrame  # every attempt of every run
    phases: pd.DataFrame
    measurements: pd.DataFrame
    gates: pd.DataFrame  # the last of each part, here before elsewhere: see `gate_queries.latest_gates`
    environments: pd.DataFrame
    aligned: pd.DataFrame  # CPU and memory of every run on its grid: the view aligned_readings
    published: pd.DataFrame  # what earlier studies published, and what was imported
    studies: tuple[Study, ...]  # those that the package brings, with their claims
    current_versions: Mapping[str, str] = field(default_factory=dict)  # the newest of each framework, where known
    prices: Sequence[Price] = ()  # of an hour of a machine, where known
    roster: Sequence[Contender] = ()  # every entry that the package brings
    snapshots: Sequence[Snapshot] = ()  # those whose runs are among the results, measured elsewhere
    suites: Sequence[str] = ()  # names of those that the package brings

    def elsewhere(self) -> dict[str, Snapshot]:
        """Return the snapshot that a campaign comes from, by the campaign's id."""
        return {campaign: snapshot for snapshot in self.snapshots for campaign in snapshot.campaigns}


def titles_of(snapshots: Sequence[Snapshot]) -> dict[str, str]:
    """Return the title of the snapshot that a campaign comes from, by the campaign's id."""
    return {campaign: snapshot.title for snapshot in snapshots for campaign in snapshot.campaigns}


def latest_campaign(runs: pd.DataFrame) -> str:
    """Return the campaign of the run that started last, or an empty string."""
    return str(runs.sort_values("started_at")["campaign_id"].iloc[-1]) if len(runs) else ""
