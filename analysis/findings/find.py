"""Comparisons of one cell become findings with their verdicts.

`find_all` is called once; pages and terminal read its findings.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings.comparison import (
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
from analysis.findings.finding import CLOCKS, COMPARED_TRACKS, Cell, Finding
from analysis.findings.heats_needed import Plan
from analysis.frames.columns import Column, Columns, Record, Table, groups, records
from analysis.statistics.paired import Effect, holm
from analysis.statistics.time_to_accuracy import crossings, pooled_epochs, run_costs

MIN_HIT_SHARE = 0.9  # of the gated runs, for a headline that says "to the target"
_FACTS = {"class": "runner_class", "language": "language", "framework": "framework"}
_OF_ENTRY = ("entry", "headline", *_FACTS.values())
_CELL_KEYS = tuple(field.name for field in fields(Cell))
_NEEDED = (
    *_CELL_KEYS,
    *_OF_ENTRY,
    *("run_id", "heat_id", "baseline", "control", "status", "message", "contaminated", "gate_passed"),
    *("repetition", "repetitions", "planned_heats"),
    *("target_accuracy", "equivalence_margin_ratio", "train_clock_s", "e2e_clock_s"),
)
_RATIOS = ("ratio", "ratio_low", "ratio_high", "hodges_lehmann_ratio", "hodges_lehmann_low", "hodges_lehmann_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Absent:
    """An entry that was never timed in a cell, and why."""

    facts: Record
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Race:
    """Everyone in one cell against its baseline on one clock."""

    cell: Cell
    clock: str
    baseline: str
    runs: Columns
    by_entry: Mapping[str, Columns]
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
    facts: Record  # columns of its runs that are the same in all of them
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
    compared = runs[runs["track"].isin(COMPARED_TRACKS)]
    if compared.empty:
        return []
    known, missing = _known(runs, unavailable), _unavailable(unavailable)
    found: list[Finding] = []
    refused: dict[tuple[Any, ...], dict[str, _Absent]] = {}  # cells that share their gate share what it said
    for mine in groups(_priced(compared, epochs), (*_CELL_KEYS, "baseline")):
        cell = _cell(mine)
        work = (cell.campaign_id, cell.workload, cell.device, cell.dtype, cell.optimizer, cell.loader)
        if work not in refused:
            refused[work] = _refused(gates, cell, known)
        for race in _races(cell, mine, refused[work] | missing.get(cell, {})):
            found.extend(_race_findings(race))
    return found


def _priced(runs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return what findings need of `runs`, with what each paid and in which epoch it met its target."""
    targets = runs.drop_duplicates("run_id").set_index("run_id")["target_accuracy"]
    met = crossings(epochs, targets)["epoch"].rename("target_epoch")
    return runs[list(_NEEDED)].join(run_costs(epochs), on="run_id").join(met, on="run_id")


def _cell(runs: Columns) -> Cell:
    """Return the cell of runs that are all of one."""
    return Cell(**runs.first(_CELL_KEYS))


def _known(runs: pd.DataFrame, unavailable: pd.DataFrame) -> dict[str, Record]:
    """Return the facts of every entry that has a row anywhere."""
    rows = pd.concat([some[list(_OF_ENTRY)] for some in (runs, unavailable)])
    return {str(row["entry"]): row for row in records(rows.drop_duplicates("entry"))}


def _unavailable(unavailable: pd.DataFrame) -> dict[Cell, dict[str, _Absent]]:
    """Return the entries of each cell that were not started: unavailable, or unable to do what it asks."""
    names = ["status", "message", *_OF_ENTRY]
    found: defaultdict[Cell, dict[str, _Absent]] = defaultdict(dict)
    for cell, row in zip(records(unavailable[list(_CELL_KEYS)]), records(unavailable[names]), strict=True):
        reason = f"it is {row['status']}: {_clause(row['message'])}"
        found[Cell(**cell)][row["entry"]] = _Absent(facts=row, reason=reason)
    return found


def _refused(gates: pd.DataFrame, cell: Cell, known: Mapping[str, Record]) -> dict[str, _Absent]:
    """Return the entries whose last gating in the cell's campaign failed: they are not timed at all."""
    by_entry: defaultdict[str, list[Record]] = defaultdict(list)
    for row in records(gates_of(cell, gates)):
        by_entry[f"{row['runner']}:{row['variant']}"].append(row)
    found: dict[str, _Absent] = {}
    for entry, rows in by_entry.items():
        if failed := [row for row in _last_gating(rows) if not row["passed"]]:
            first = min(failed, key=lambda row: row["part"])
            facts = known.get(entry) or _described(first["versions"])
            found[entry] = _Absent(facts=facts, reason=_gate_failure(first, cell.workload))
    return found


def gates_of(cell: Cell, gates: pd.DataFrame) -> pd.DataFrame:
    """Return what the gate said in the cell's campaign about this very work; an old record may not tell it all."""
    mine = gates
    for name in ("campaign_id", "workload", "device", "dtype"):
        mine = mine[mine[name] == getattr(cell, name)]
    for name, wanted in (("optimizer", cell.optimizer), ("loader", cell.loader)):
        mine = mine[mine[name].isna() | (mine[name] == wanted)] if wanted else mine
    return mine


def _last_gating(rows: Sequence[Record]) -> list[Record]:
    """Return the newest result of each part, from one entry's last gating.

    Part 'run' says that a gating never got to the others: what is older is void either way.
    """
    ordered = sorted(rows, key=lambda row: row["gated_at"])
    last = ordered[-1]
    newest = {row["part"]: row for row in ordered if row["gate_id"] == last["gate_id"]}
    return [row for part, row in newest.items() if (part == "run") == (last["part"] == "run")]


def _described(versions: str | None) -> Record:
    """Return what --describe says of an entry that has no run anywhere; its class is not known."""
    described = json.loads(versions or "{}")
    facts = {name: described.get(name, "") for name in ("language", "framework")}
    return {**facts, "runner_class": "", "headline": True}


def _gate_failure(row: Record, workload: str) -> str:
    if row["part"] == "run":
        return f"its gate on {workload} did not end well: {_clause(row['found'])}"
    found, expected = _clause(row["found"]), _clause(row["expected"])
    return f"it failed part {row['part']} of the gate on {workload}: {row['quantity']} is {found}, expected {expected}"


def _races(cell: Cell, runs: Columns, absent: Mapping[str, _Absent]) -> Iterator[_Race]:
    by_entry = {str(entry): runs.where(runs["entry"] == entry) for entry in dict.fromkeys(runs["entry"])}
    gates = {entry: gate_passed(mine) for entry, mine in by_entry.items()}
    pooled, plan = _pooled(cell, runs, gates), plan_of(runs)
    for clock in CLOCKS:
        yield _Race(
            cell=cell,
            clock=clock,
            baseline=str(runs["baseline"][0]),
            runs=runs,
            by_entry=by_entry,
            gates=gates,
            usable=usable_runs(_costs(runs, clock, is_pooled=pooled is not None)),
            absent=absent,
            epochs=pooled,
            margin_ratio=float(runs["equivalence_margin_ratio"][0]),
            plan=plan,
        )


def plan_of(runs: Table) -> Plan:
    """Return the rule of repetition of a cell's runs, as their records noted it, and how far it has got."""
    rules, planned = (_known_values(runs[name]) for name in ("repetitions", "planned_heats"))
    return Plan(
        rule=str(rules[-1]) if rules.size else "fixed",
        planned=int(planned.max()) if planned.size else None,
        done=len(set(runs["repetition"])),
    )


def _known_values(column: pd.Series | Column) -> Column:
    values = np.asarray(column)
    return values[~pd.isna(values)]


def epochs_to_target(
    cell: Cell, runs: pd.DataFrame, epochs: pd.DataFrame, gates: Mapping[str, bool | None]
) -> Effect | None:
    """Return the epochs pooled over the gated entries; none in mode steps or where too few runs reach the target.

    A run that never met the target counts with the whole plan, so with many of those the mean would not be
    about the target any more.
    """
    return _pooled(cell, Columns.of(_priced(runs, epochs)), gates)


def _pooled(cell: Cell, runs: Columns, gates: Mapping[str, bool | None]) -> Effect | None:
    """Return `epochs_to_target` of runs that say in which epoch they met it."""
    if cell.mode != "train" or pd.isna(runs["target_accuracy"][0]):
        return None
    gated = [gates[entry] is True for entry in runs["entry"]]
    pool = pooled_epochs(runs.where(np.array(gated)))
    return pool.epochs if pool and pool.hits >= MIN_HIT_SHARE * pool.runs else None


def _costs(runs: Columns, clock: str, *, is_pooled: bool) -> Columns:
    """Return `runs` with what each paid once and per epoch on this clock."""
    nothing = np.zeros(len(runs))
    if not is_pooled:
        return runs.assign(fixed_s=runs[f"{clock}_clock_s"], per_epoch_s=nothing)
    fixed_s = runs["fixed_s"] if clock == "e2e" else nothing
    return runs.assign(fixed_s=fixed_s, per_epoch_s=runs[f"{clock}_s_per_epoch"])


def gate_passed(runs: Table) -> bool | None:
    """Return whether an entry passed the gate: no where any run says no, yes where every completed run says yes."""
    passed, status = (np.asarray(runs[name], dtype=object) for name in ("gate_passed", "status"))
    said = ~pd.isna(passed)
    if not passed[said].astype(bool).all():
        return False
    return True if said.any() and said[status == "completed"].all() else None


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
    return _Contender(entry=entry, facts=runs.first(_OF_ENTRY), comparison=comparison, refusal=refusal)


def _refusal(race: _Race, entry: str, runs: Columns, comparison: Comparison | None) -> str:
    """Return why an entry that was timed is not ranked, or an empty string."""
    gates = (("it", race.gates[entry]), (f"the baseline {race.baseline}", race.gates.get(race.baseline)))
    if failed := [who for who, passed in gates if passed is False]:
        return f"{failed[0]} failed the gate on {race.cell.workload}"
    if comparison is None:
        return _why_never(race, runs)
    if ungated := [who for who, passed in gates if passed is None]:
        return f"{ungated[0]} was not gated on {race.cell.workload}"
    return ""


def _why_never(race: _Race, runs: Columns) -> str:
    """Return why there is no heat in which both completed."""
    baseline = race.by_entry.get(race.baseline, race.runs.where(slice(0)))
    for who, mine in (("it", runs), (f"the baseline {race.baseline}", baseline)):
        if not (mine["status"] == "completed").any():
            endings = ", ".join(f"{count} {status}" for status, count in Counter(mine["status"]).most_common())
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
    return Finding(
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
        epochs_to_target=race.epochs.estimate if race.epochs else None,
        heats_to_decide_low=decision.heats_low,
        heats_to_decide_high=decision.heats_high,
        **_who(race, contender),
        **_ratios(comparison),
    )


def _who(race: _Race, contender: _Contender) -> dict[str, Any]:
    """Return the columns that say who is compared with whom."""
    found: dict[str, Any] = {"baseline": race.baseline, "candidate": contender.entry}
    baseline = race.by_entry.get(race.baseline)
    for role, facts in (("candidate", contender.facts), ("baseline", baseline.first(_OF_ENTRY) if baseline else None)):
        if facts:
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
