"""Comparisons of one cell become verdicts and the sentences that state them.

`find_all` is called once; pages and terminal read its findings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import (
    Comparison,
    Decision,
    Usable,
    Verdict,
    compare,
    decide,
    pair_controls,
    pair_heats,
    usable_runs,
)
from analysis.finding import CLOCKS, COMPARED_TRACKS, Cell, Finding
from analysis.groups import Parts
from analysis.power import Plan
from analysis.sentences import sentence
from analysis.statistics import Effect, holm
from analysis.time_to_accuracy import crossings, pooled_epochs, run_costs

MIN_HIT_SHARE = 0.9  # of the gated runs, for a headline that says "to the target"
_FACTS = {"class": "runner_class", "language": "language", "framework": "framework"}
GATE_KEYS = ("campaign_id", "workload", "device", "dtype", "optimizer", "loader", "runner", "variant", "part")
NEEDED = {
    *(field.name for field in fields(Cell)),
    *("run_id", "heat_id", "entry", "baseline", "control", "status", "message", "contaminated", "gate_passed"),
    *("headline", "runner_class", "language", "framework", "repetition", "repetitions", "planned_heats"),
    *("target_accuracy", "equivalence_margin_ratio", "train_clock_s", "e2e_clock_s"),
}
_RATIOS = ("ratio", "ratio_low", "ratio_high", "hodges_lehmann_ratio", "hodges_lehmann_low", "hodges_lehmann_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Absent:
    """An entry that was never timed in a cell, and why."""

    facts: Mapping[Any, Any]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Race:
    """Everyone in one cell against its baseline on one clock."""

    cell: Cell
    clock: str
    baseline: str
    runs: pd.DataFrame
    by_entry: Mapping[str, pd.DataFrame]
    gates: Mapping[str, bool | None]  # of each entry
    usable: Usable  # with the costs on this clock
    absent: Mapping[str, _Absent]
    epochs: Effect | None  # pooled; none: the whole timed work counts
    margin_ratio: float
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contender:
    """One candidate of a race; `refusal` says why it is not ranked."""

    entry: str
    facts: Mapping[Any, Any]  # columns of its runs that are the same in all of them
    comparison: Comparison | None
    refusal: str

    @property
    def is_tested(self) -> bool:
        """Whether it has a p value, and so belongs to a family."""
        return not self.refusal and self.comparison is not None and self.comparison.has_interval


def find_all(runs: pd.DataFrame, epochs: pd.DataFrame, unavailable: pd.DataFrame, gates: pd.DataFrame) -> list[Finding]:
    """Return one finding per cell, clock and candidate of the closed and open tracks.

    Cells come in the order of `runs`, candidates in that of their names. Entries that were never timed, because
    they were unavailable or failed the gate, are findings too.

    Parameters
    ----------
    runs
        What `frames.read_counted_runs` returned.
    epochs
        What `frames.read_epochs` returned.
    unavailable
        What `frames.read_unavailable` returned.
    gates
        What `frames.read_gates` returned.

    Raises
    ------
    ComparisonError, StatisticsError
        If the store holds what cannot be: an entry twice in a heat, a run that cost nothing.
    """
    runs, unavailable, gates = _lean(runs), _lean(unavailable), gates.astype(dict.fromkeys(GATE_KEYS, object))
    known = pd.concat([runs, unavailable]).drop_duplicates("entry").set_index("entry")
    cells = list(_cells(runs[runs["track"].isin(COMPARED_TRACKS)]))
    numbers = {run_id: number for number, (_, _, group) in enumerate(cells) for run_id in group["run_id"]}
    of_cells, costs = Parts(epochs, numbers), run_costs(epochs)
    found: list[Finding] = []
    refused: dict[tuple[Any, ...], dict[str, _Absent]] = {}  # cells that share their gate share what it said
    for number, (cell, baseline, group) in enumerate(cells):
        work = (cell.campaign_id, cell.workload, cell.device, cell.dtype, cell.optimizer, cell.loader)
        if work not in refused:
            refused[work] = _refused(gates, cell, known)
        absent = refused[work] | _unavailable(unavailable, cell)
        for race in _races(cell, baseline, group, absent, of_cells.of(number), costs):
            found.extend(_race_findings(race))
    return found


def _lean(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that findings need, texts as plain objects: many small parts of it are taken."""
    kept = runs[[name for name in runs.columns if name in NEEDED]]
    texts = [name for name in kept.columns if isinstance(kept[name].dtype, pd.StringDtype)]
    return kept.astype(dict.fromkeys(texts, object))


def _cells(runs: pd.DataFrame) -> Iterator[tuple[Cell, str, pd.DataFrame]]:
    names = [field.name for field in fields(Cell)]
    for key, group in runs.groupby([*names, "baseline"], sort=False):
        values: list[Any] = [value.item() if isinstance(value, np.generic) else value for value in key]
        yield Cell(**dict(zip(names, values[:-1], strict=True))), str(key[-1]), group


def _unavailable(unavailable: pd.DataFrame, cell: Cell) -> dict[str, _Absent]:
    """Return the entries of `cell` that were not started: unavailable, or unable to do what it asks."""
    mine = unavailable
    if mine.empty:
        return {}
    for field in fields(Cell):
        mine = mine[mine[field.name] == getattr(cell, field.name)]
    return {
        row["entry"]: _Absent(facts=row, reason=f"it is {row['status']}: {_clause(row['message'])}")
        for row in mine.to_dict("records")
    }


def _refused(gates: pd.DataFrame, cell: Cell, known: pd.DataFrame) -> dict[str, _Absent]:
    """Return the entries whose last gating in the cell's campaign failed: they are not timed at all."""
    mine = gates_of(cell, gates)
    found: dict[str, _Absent] = {}
    for (runner, variant), rows in mine.groupby(["runner", "variant"]):
        last = _last_gating(rows)
        failed = last[~last["passed"].astype(bool)].sort_values("part")
        if len(failed):
            entry = f"{runner}:{variant}"
            facts = known.loc[entry].to_dict() if entry in known.index else _described(failed["versions"].iloc[0])
            found[entry] = _Absent(facts=facts, reason=_gate_failure(failed.iloc[0].to_dict(), cell.workload))
    return found


def gates_of(cell: Cell, gates: pd.DataFrame) -> pd.DataFrame:
    """Return what the gate said in the cell's campaign about this very work; an old record may not tell it all."""
    mine = gates
    for name in ("campaign_id", "workload", "device", "dtype"):
        mine = mine[mine[name] == getattr(cell, name)]
    for name, wanted in (("optimizer", cell.optimizer), ("loader", cell.loader)):
        mine = mine[mine[name].isna() | (mine[name] == wanted)] if wanted else mine
    return mine


def _last_gating(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the newest result of each part, from one entry's last gating.

    Part 'run' says that a gating never got to the others: what is older is void either way.
    """
    ordered = rows.sort_values("gated_at", kind="stable")
    newest = ordered[ordered["gate_id"] == ordered["gate_id"].iloc[-1]].drop_duplicates("part", keep="last")
    unfinished = newest["part"] == "run"
    found: pd.DataFrame = newest[unfinished] if unfinished.iloc[-1] else newest[~unfinished]
    return found


def _described(versions: str) -> dict[str, Any]:
    """Return what --describe says of an entry that has no run anywhere; its class is not known."""
    described = json.loads(versions or "{}")
    facts = {name: described.get(name, "") for name in ("language", "framework")}
    return {**facts, "runner_class": "", "headline": True}


def _gate_failure(row: Mapping[Any, Any], workload: str) -> str:
    if row["part"] == "run":
        return f"its gate on {workload} did not end well: {_clause(row['found'])}"
    found, expected = _clause(row["found"]), _clause(row["expected"])
    return f"it failed part {row['part']} of the gate on {workload}: {row['quantity']} is {found}, expected {expected}"


def _races(
    cell: Cell,
    baseline: str,
    runs: pd.DataFrame,
    absent: Mapping[str, _Absent],
    epochs: pd.DataFrame,
    costs: pd.DataFrame,
) -> Iterator[_Race]:
    by_entry = {str(entry): mine for entry, mine in runs.groupby("entry")}
    gates = {entry: gate_passed(mine) for entry, mine in by_entry.items()}
    pooled, plan = epochs_to_target(cell, runs, epochs, gates), plan_of(runs)
    for clock in CLOCKS:
        yield _Race(
            cell=cell,
            clock=clock,
            baseline=baseline,
            runs=runs,
            by_entry=by_entry,
            gates=gates,
            usable=usable_runs(_costs(runs, costs, clock, is_pooled=pooled is not None)),
            absent=absent,
            epochs=pooled,
            margin_ratio=float(runs["equivalence_margin_ratio"].iloc[0]),
            plan=plan,
        )


def plan_of(runs: pd.DataFrame) -> Plan:
    """Return the rule of repetition of a cell's runs, as their records noted it, and how far it has got."""
    rules, planned = runs["repetitions"].dropna(), runs["planned_heats"].dropna()
    return Plan(
        rule=str(rules.iloc[-1]) if len(rules) else "fixed",
        planned=int(planned.max()) if len(planned) else None,
        done=int(runs["repetition"].nunique()),
    )


def epochs_to_target(
    cell: Cell, runs: pd.DataFrame, epochs: pd.DataFrame, gates: Mapping[str, bool | None]
) -> Effect | None:
    """Return the epochs pooled over the gated entries; none in mode steps or where too few runs reach the target.

    A run that never met the target counts with the whole plan, so with many of those the mean would not be
    about the target any more.
    """
    target = runs["target_accuracy"].iloc[0]
    if cell.mode != "train" or pd.isna(target):
        return None
    gated = [entry for entry, passed in gates.items() if passed is True]
    pool = pooled_epochs(runs[runs["entry"].isin(gated)], crossings(epochs, float(target)))
    return pool.epochs if pool and pool.hits >= MIN_HIT_SHARE * pool.runs else None


def _costs(runs: pd.DataFrame, of_runs: pd.DataFrame, clock: str, *, is_pooled: bool) -> pd.DataFrame:
    """Return `runs` with what each paid once and per epoch on this clock."""
    if not is_pooled:
        return runs.assign(fixed_s=runs[f"{clock}_clock_s"].astype(float), per_epoch_s=0.0)
    costs = of_runs.reindex(runs["run_id"])
    fixed_s = costs["fixed_s"].to_numpy() if clock == "e2e" else 0.0
    return runs.assign(fixed_s=fixed_s, per_epoch_s=costs[f"{clock}_s_per_epoch"].to_numpy())


def gate_passed(runs: pd.DataFrame) -> bool | None:
    """Return whether an entry passed the gate: no where any run says no, yes where every completed run says yes."""
    said = runs["gate_passed"].dropna().astype(bool)
    if not said.all():
        return False
    completed = runs.loc[runs["status"] == "completed", "gate_passed"]
    return True if len(said) and completed.notna().all() else None


def _race_findings(race: _Race) -> list[Finding]:
    control = compare(pair_controls(race.usable), race.epochs)
    entries = sorted({*race.by_entry, *race.absent} - {race.baseline})
    contenders = [_contender(race, entry) for entry in entries]
    families = {headline: _family(contenders, headline=headline) for headline in (True, False)}
    return [_finding(race, control, c, families[bool(c.facts["headline"])]) for c in contenders]


def _contender(race: _Race, entry: str) -> _Contender:
    runs = race.by_entry.get(entry)
    if runs is None:
        absent = race.absent[entry]
        return _Contender(entry=entry, facts=absent.facts, comparison=None, refusal=absent.reason)
    comparison = compare(pair_heats(race.usable, race.baseline, entry), race.epochs)
    late = race.absent.get(entry)  # timed, and then refused: whole trainings did not end alike (part H)
    refusal = _refusal(race, entry, runs, comparison) or (late.reason if late else "")
    return _Contender(entry=entry, facts=runs.iloc[0].to_dict(), comparison=comparison, refusal=refusal)


def _refusal(race: _Race, entry: str, runs: pd.DataFrame, comparison: Comparison | None) -> str:
    """Return why an entry that was timed is not ranked, or an empty string."""
    baseline = race.by_entry.get(race.baseline, race.runs.iloc[:0])
    gates = (("it", race.gates[entry]), (f"the baseline {race.baseline}", race.gates.get(race.baseline)))
    if failed := [who for who, passed in gates if passed is False]:
        return f"{failed[0]} failed the gate on {race.cell.workload}"
    if comparison is None:
        return _why_never(race, runs, baseline)
    if ungated := [who for who, passed in gates if passed is None]:
        return f"{ungated[0]} was not gated on {race.cell.workload}"
    return ""


def _why_never(race: _Race, runs: pd.DataFrame, baseline: pd.DataFrame) -> str:
    """Return why there is no heat in which both completed."""
    for who, mine in (("it", runs), (f"the baseline {race.baseline}", baseline)):
        if not (mine["status"] == "completed").any():
            endings = ", ".join(f"{count} {status}" for status, count in mine["status"].value_counts().items())
            message = next((f": {_clause(text)}" for text in mine["message"] if text), "")
            return f"{who} never completed ({endings or 'no runs'}){message}"
    return "there is no heat in which both completed undisturbed"


def _clause(text: object) -> str:
    """Return the first line of a message, fit to stand inside a sentence."""
    return str(text).strip().partition("\n")[0].rstrip(" .")


def _family(contenders: Sequence[_Contender], *, headline: bool) -> dict[str, float]:
    """Return Holm's p of each tested candidate; variants that lead nothing form a family of their own."""
    tested = {
        c.entry: c.comparison.effect.p_value
        for c in contenders
        if c.comparison and c.is_tested and bool(c.facts["headline"]) is headline
    }
    return dict(zip(tested, holm(list(tested.values())), strict=True))


def _finding(race: _Race, control: Comparison | None, contender: _Contender, family: Mapping[str, float]) -> Finding:
    comparison = None if contender.refusal else contender.comparison
    adjusted_p = family.get(contender.entry)
    decision = Decision(Verdict.NOT_RANKED, contender.refusal)
    if comparison:
        p = 1.0 if adjusted_p is None else adjusted_p
        decision = decide(comparison, control, p, race.margin_ratio, len(family), race.plan)
    finding = Finding(
        cell=race.cell,
        clock=race.clock,
        metric=f"{race.clock}_clock_s" if race.epochs is None else f"time_to_target_{race.clock}_s",
        unit="s",
        heats=contender.comparison.heats if contender.comparison else 0,
        baseline_value=contender.comparison.baseline_value if contender.comparison else None,
        candidate_value=contender.comparison.candidate_value if contender.comparison else None,
        adjusted_p=adjusted_p,
        floor_ratio=math.exp(control.floor) if control and control.has_interval else None,
        margin_ratio=race.margin_ratio,
        verdict=decision.verdict,
        reason=decision.reason,
        sentence="",
        epochs_to_target=race.epochs.estimate if race.epochs else None,
        heats_to_decide_low=decision.heats_low,
        heats_to_decide_high=decision.heats_high,
        **_who(race, contender),
        **_ratios(comparison),
    )
    return replace(finding, sentence=sentence(finding))


def _who(race: _Race, contender: _Contender) -> dict[str, Any]:
    """Return the columns that say who is compared with whom."""
    found: dict[str, Any] = {"baseline": race.baseline, "candidate": contender.entry}
    baseline = race.by_entry.get(race.baseline, race.runs.iloc[:0])
    for role, facts in (("candidate", contender.facts), ("baseline", baseline.iloc[0] if len(baseline) else None)):
        if facts is not None:
            found |= {f"{role}_{name}": str(facts[column]) for name, column in _FACTS.items()}
            found[f"{role}_headline"] = bool(facts["headline"])
    return found


def _ratios(comparison: Comparison | None) -> dict[str, Any]:
    """Return the ratio of a ranked candidate, and its intervals from 6 heats."""
    found: dict[str, Any] = dict.fromkeys(_RATIOS)
    if comparison is None:
        return found
    found["ratio"] = math.exp(comparison.effect.estimate)
    if comparison.has_interval:
        mean, ranks = comparison.effect.interval(0.95).as_ratio, comparison.signed_rank_95.as_ratio
        found |= {"ratio_low": mean.low, "ratio_high": mean.high}
        found["hodges_lehmann_ratio"] = math.exp(comparison.hodges_lehmann)
        found |= {"hodges_lehmann_low": ranks.low, "hodges_lehmann_high": ranks.high}
    return found
