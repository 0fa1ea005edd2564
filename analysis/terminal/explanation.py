"""Why a finding is what it is: the rule that decided, what the machine can tell apart, the heats, the gate (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import pandas as pd

from analysis.findings.comparison import HEATS_FOR_AN_INTERVAL, Verdict
from analysis.findings.find import gates_of, plan_of
from analysis.findings.finding import Cell, Finding, entry_name
from analysis.frames.columns import is_absent
from analysis.results.results import Measured
from analysis.statistics.paired import log_margin

PLANNED_ONCE = 0.05  # the level of tests that are looked at once
MOST_NAMED = 3  # heats that were left out, and reasons; the rest are counted
DECIDED = (Verdict.FASTER, Verdict.SLOWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What stands behind a finding, each a sentence or more; empty where there is nothing to say."""

    rule: str
    floor: str
    heats: str
    gate: str
    kernels: str
    price: str = ""  # empty unless the price of an hour is known
    notes: tuple[str, ...]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Every sentence under a word for it."""
        named = [(name, getattr(self, name)) for name in ("rule", "floor", "heats", "gate", "kernels", "price")]
        return [(name, text) for name, text in named if text] + [("note", text) for text in self.notes]


def why(finding: Finding, measured: Measured) -> Why:
    """Return why a finding is what it is; nothing is decided again here."""
    runs = cell_runs(measured.runs, finding.cell)
    ran = {finding.baseline, finding.candidate} <= set(runs["entry"])
    return Why(
        rule=rule_words(finding, plan_of(runs).alpha if len(runs) else PLANNED_ONCE),
        floor=floor_words(finding) if finding.ratio is not None else "",
        heats=heats_words(finding, runs) if ran else "",
        gate=gate_words(finding, measured.gates),
        kernels=kernel_words(finding, runs) if finding.ratio is not None else "",
        notes=_notes(finding),
    )


def rule_words(finding: Finding, alpha: float = PLANNED_ONCE) -> str:
    """Return which rule of the verdict decided, with its figures; `alpha` is the level of each test."""
    margin = f"± {100 * finding.margin_ratio:g} %"
    if finding.verdict is Verdict.DEAD_HEAT:
        return (
            f"the {100 * (1 - 2 * alpha):g} % interval lies inside the margin of {margin} that the suite fixed (two "
            f"one-sided tests at {100 * alpha:g} %)"
        )
    if finding.ratio is None:
        return ""
    if finding.verdict not in DECIDED or finding.floor_ratio is None:
        return finding.reason.removeprefix("because ")
    level = f"{_p(finding.adjusted_p)}, level {100 * alpha:g} %" if finding.adjusted_p is not None else ""
    p = f"equality is rejected (Holm's p {level}), " if level else ""
    if math.log(finding.floor_ratio) < log_margin(finding.margin_ratio):
        return f"{p}the difference exceeds the A/A floor, and the signed ranks do not contradict"
    return (
        f"{p}and the whole 95 % interval lies beyond the A/A floor; that is asked because this machine cannot "
        f"resolve {margin}"
    )


def floor_words(finding: Finding) -> str:
    """Return what the machine cannot tell apart: the same program run twice."""
    if finding.floor_ratio is None:
        return (
            f"not known: the A/A control, {_baseline(finding)} run twice, did not complete in "
            f"{HEATS_FOR_AN_INTERVAL} heats"
        )
    return (
        f"{_baseline(finding)} run twice in each heat differs from itself by at most "
        f"{100 * (finding.floor_ratio - 1):.2g} % (A/A, end of the 95 % interval)"
    )


def heats_words(finding: Finding, runs: pd.DataFrame) -> str:
    """Return how many heats were counted, and why the others of the cell were not."""
    left = left_out(runs, finding.baseline, finding.candidate)
    counted = f"{finding.heats} counted"
    if not left:
        return f"{counted}, none left out"
    numbers: dict[str, list[int]] = {}
    for number, reason in left:
        numbers.setdefault(reason, []).append(number)
    named = "; ".join(f"{_heats(found)}: {reason}" for reason, found in list(numbers.items())[:MOST_NAMED])
    more = f"; and {len(numbers) - MOST_NAMED} more reasons" if len(numbers) > MOST_NAMED else ""
    return f"{counted}, {len(left)} left out ({named}{more})"


def left_out(runs: pd.DataFrame, first: str, second: str) -> list[tuple[int, str]]:
    """Return the heats of one cell in which not both completed undisturbed: their number, and why.

    Parameters
    ----------
    runs
        Runs of one cell, those of each heat's last complete attempt.
    """
    mine = runs[runs["entry"].isin([first, second]) & ~runs["control"].astype(bool)]
    found = []
    for _, heat in runs.groupby("heat_id", sort=False):
        number = int(heat["repetition"].iloc[0])
        rows = mine[mine["heat_id"] == heat["heat_id"].iloc[0]]
        reasons = [_fault(rows[rows["entry"] == entry], entry) for entry in (first, second)]
        if reason := ", ".join(filter(None, reasons)):
            found.append((number, reason))
    return sorted(found)


def gate_words(finding: Finding, gates: pd.DataFrame) -> str:
    """Return what the gate said about both, in the campaign of the cell."""
    mine = gates_of(finding.cell, gates)
    said = []
    for entry in (finding.baseline, finding.candidate):
        runner, _, variant = entry.partition(":")
        rows = mine[(mine["runner"] == runner) & (mine["variant"] == variant)].sort_values("gated_at")
        last = rows.drop_duplicates("part", keep="last")
        passed = sorted(last.loc[last["passed"].astype(bool), "part"])
        failed = sorted(last.loc[~last["passed"].astype(bool), "part"])
        parts = [f"passed {' '.join(passed)}"] if passed else []
        parts += [f"failed {' '.join(failed)}"] if failed else []
        said.append(f"{entry} {' and '.join(parts) or 'has no result in this campaign'}")
    return "; ".join(said)


def kernel_words(finding: Finding, runs: pd.DataFrame) -> str:
    """Return whether both share kernels, so what a difference is a difference of."""
    families = [_first(runs[runs["entry"] == entry], "family") for entry in (finding.baseline, finding.candidate)]
    if not all(families):
        return ""
    if families[0] == families[1]:
        return f"both run on {families[0]}: a difference is that of front end and version, not of kernels"
    return f"{families[0]} against {families[1]}: language and library differ together, and are not told apart here"


def cell_runs(runs: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the runs of a cell."""
    mine = runs
    for field in fields(Cell):
        mine = mine[mine[field.name] == getattr(cell, field.name)]
    return mine


def why_apart(measured: Measured, first: str, second: str, workload: str | None, machines: Mapping[str, str]) -> str:
    """Return why two entries share no heat: what differs between the most similar work that each did.

    Parameters
    ----------
    machines
        The machine of each environment.
    """
    cells = {entry: _cells_of(measured.runs, entry, workload) for entry in (first, second)}
    where = f" on {workload}" if workload else ""
    if missing := [entry for entry in (first, second) if not cells[entry]]:
        return f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no runs{where}, so there is no number"
    if shared := [cell for cell in cells[first] if cell in cells[second]]:
        return (
            f"{first} and {second} met{where} in the track {shared[0].track} alone: a study's own recipe, in which "
            "each side trains something else, is shown and never compared"
        )
    pairs = [(_differences(one, other, machines), one, other) for one in cells[first] for other in cells[second]]
    differing, _, _ = min(pairs, key=lambda pair: len(pair[0]))
    return (
        f"{first} and {second} were never run in the same heat{where}; the most similar work that each did differs in "
        f"{'; '.join(differing)}. Seconds of different work, machines or campaigns are not compared"
    )


def _cells_of(runs: pd.DataFrame, entry: str, workload: str | None) -> list[Cell]:
    mine = runs[runs["entry"] == entry]
    mine = mine if workload is None else mine[mine["workload"] == workload]
    rows = mine[[field.name for field in fields(Cell)]].drop_duplicates().to_dict("records")
    return [Cell(**{str(name): value for name, value in row.items()}) for row in rows]


def _differences(one: Cell, other: Cell, machines: Mapping[str, str]) -> list[str]:
    """Return in what two cells differ; the campaign only where nothing else does."""
    found = []
    for field in fields(Cell):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("campaign_id", "suite") or mine == theirs:
            continue
        if field.name == "environment_id":
            mine, theirs = machines.get(mine, mine), machines.get(theirs, theirs)
            if mine == theirs:
                continue
            found.append(f"hardware ({mine} against {theirs})")
        else:
            found.append(f"{field.name.replace('_', ' ')} ({mine} against {theirs})")
    return found or [f"campaign ({one.campaign_id} against {other.campaign_id})"]


def _fault(rows: pd.DataFrame, entry: str) -> str:
    """Return why an entry's run of a heat does not count, or an empty string."""
    if rows.empty:
        return f"{entry} has no run"
    row = rows.iloc[0]
    if row["status"] != "completed":
        message = str(row["message"]).strip().partition("\n")[0].rstrip(" .")
        return f"{entry} {row['status'].replace('_', ' ')}" + (f" ({message})" if message else "")
    if rows["contaminated"].isin([True]).iloc[0]:
        disturbance = "" if is_absent(row["contamination"]) else str(row["contamination"])
        return f"{entry} was disturbed" + (f" ({disturbance})" if disturbance else "")
    return ""


def _heats(numbers: Sequence[int]) -> str:
    """Return the numbers of heats, the first few by name."""
    shown = ", ".join(map(str, numbers[:MOST_NAMED]))
    more = f" and {len(numbers) - MOST_NAMED} more" if len(numbers) > MOST_NAMED else ""
    return f"heat{'' if len(numbers) == 1 else 's'} {shown}{more}"


def _notes(finding: Finding) -> tuple[str, ...]:
    found = []
    for entry, kind, language in (
        (finding.baseline, finding.baseline_class, finding.baseline_language),
        (finding.candidate, finding.candidate_class, finding.candidate_language),
    ):
        if kind == "baseline":
            found.append(f"{entry} is {language} without a framework; of the frameworks of {language} it says nothing")
    if finding.epochs_to_target is not None and finding.ratio is not None:
        found.append(
            f"seconds are each run's own costs for {finding.epochs_to_target:.3g} epochs, the mean of all gated "
            "entries until the target; when a single run crosses it is mostly chance"
        )
    return tuple(found)


def _baseline(finding: Finding) -> str:
    return entry_name(finding.baseline, is_headline=finding.baseline_headline)


def _first(runs: pd.DataFrame, column: str) -> str:
    return str(runs[column].iloc[0]) if len(runs) else ""


def _p(value: float) -> str:
    return "below 1e-12" if value < 1e-12 else f"{value:.2g}"
