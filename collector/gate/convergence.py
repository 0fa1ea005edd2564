"""Part H of the gate: whether whole trainings end alike, judged when a campaign has enough of them.

Parts A to G prove single steps. A run of thousands of them ends at another accuracy each time, so this part compares
distributions: every entry with the baseline of its cell, which has passed the other parts itself, heat by heat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from collector.gate.judge import Check
from collector.gate.proofs import GateKey, gate_key
from collector.gate.prove import GateResult, check_columns
from collector.plan.matrix import Cell
from store.database import Store
from store.records import GateRow
from store.repetition import HEATS_FOR_A_VERDICT

if TYPE_CHECKING:
    import pandas as pd

ACCURACY_MARGIN = 0.003  # 0.3 points: docs/explanation/gate.md
SMALLEST_P = 0.001  # of the epochs to the target being of one distribution; rare enough for a campaign of many entries

ENDS = """
select runs.heat_id, runs.runner || ':' || runs.variant as entry, final.value as accuracy, crossed.value as epochs
from counted_runs as runs
join measurements as final on final.run_id = runs.run_id and final.metric = 'final_test_accuracy'
left join measurements as crossed on crossed.run_id = runs.run_id and crossed.metric = 'epochs_to_target'
where runs.campaign_id = ? and runs.status = 'completed' and not runs.control and list_contains(?, runs.heat_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """How the runs of one entry ended beside those of the baseline, heat by heat."""

    accuracy: NDArray[np.float64]
    baseline_accuracy: NDArray[np.float64]
    epochs: NDArray[np.float64]  # to the target; infinite where it was not met
    baseline_epochs: NDArray[np.float64]


def judge_ends(ends: Ends) -> list[Check]:
    """Return the checks of part H.

    The mean difference of the final accuracies must be shown to lie within ± 0.3 points: its 90 % t interval does,
    which is the test of equivalence at 5 % (Schuirmann 1987). The epochs to the target must not be seen to be of two
    distributions (Mann & Whitney 1947, two-sided, runs that never met it last).
    """
    difference = ends.accuracy - ends.baseline_accuracy
    from scipy import stats  # slow to load, and needed here alone

    half = stats.t.ppf(0.95, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
    farthest = float(abs(difference.mean()) + half)
    p_value = _same_distribution(ends.epochs, ends.baseline_epochs)
    return [
        Check(
            part="H",
            quantity="final accuracy",
            expected=f"{ends.baseline_accuracy.mean():.4%} (baseline, {len(difference)} heats)",
            found=f"{ends.accuracy.mean():.4%}, {difference.mean():+.3%} ± {half:.3%}",
            error=farthest,
            tolerance=ACCURACY_MARGIN,
            cause=""
            if farthest <= ACCURACY_MARGIN
            else "another training, or too few heats to show that it is the same",
        ),
        Check(
            part="H",
            quantity="epochs to the target",
            expected=f"median {np.median(ends.baseline_epochs):g} (baseline)",
            found=f"median {np.median(ends.epochs):g}, p = {p_value:.3g}",
            error=SMALLEST_P / p_value,
            tolerance=1.0,
            cause="" if p_value >= SMALLEST_P else "it reaches the target in another number of epochs",
        ),
    ]


def append_outcomes(
    store: Store, campaign_id: str, heats: Mapping[str, Cell], gates: Mapping[GateKey, GateResult]
) -> list[GateRow]:
    """Judge every entry of a campaign with enough heats, append the rows and return them.

    Parameters
    ----------
    store, campaign_id
        Where the runs are.
    heats
        The cell of each heat of the campaign, by heat id.
    gates
        The results of the other parts, whose rows these stand beside; of several cells the worst counts.
    """
    worst: dict[GateKey, Check] = {}
    for cell in {cell.key: cell for cell in heats.values() if cell.workload.mode == "train"}.values():
        frame = store.query(ENDS, [campaign_id, [heat_id for heat_id, other in heats.items() if other.key == cell.key]])
        for key, check in _judged_cell(frame, cell):
            if key in gates and (key not in worst or check.strain > worst[key].strain):
                worst[key] = check
    now = datetime.now(UTC)
    rows = [
        replace(gates[key].rows[0], campaign_id=campaign_id, **check_columns(check)) for key, check in worst.items()
    ]
    if rows:
        store.append(f"outcomes-{campaign_id}-{now:%Y%m%d%H%M%S%f}", rows, day=now.date())
    return rows


def _judged_cell(frame: pd.DataFrame, cell: Cell) -> Iterator[tuple[GateKey, Check]]:
    """Yield the worse check of each entry that has enough heats with the baseline."""
    for entry in cell.candidates:
        ends = _paired(frame, str(entry), str(cell.baseline))
        if len(ends.accuracy) >= HEATS_FOR_A_VERDICT:
            check = max(judge_ends(ends), key=lambda check: check.strain)
            yield gate_key(entry, cell), replace(check, quantity=f"{check.quantity} ({cell.key})")


def _paired(frame: pd.DataFrame, entry: str, baseline: str) -> Ends:
    """Return the ends of the heats in which both completed."""
    own, other = (frame[frame["entry"] == name].set_index("heat_id") for name in (entry, baseline))
    both = own.index.intersection(other.index)
    own, other = own.loc[both], other.loc[both]
    return Ends(
        accuracy=own["accuracy"].to_numpy(float),
        baseline_accuracy=other["accuracy"].to_numpy(float),
        epochs=_epochs(own),
        baseline_epochs=_epochs(other),
    )


def _epochs(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the epochs to the target, infinite where it was never met."""
    epochs = frame["epochs"].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(epochs), np.inf, epochs)


def _same_distribution(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return the p value of both being of one distribution; 1 where all are equal."""
    if len(np.unique(np.concatenate([found, expected]))) == 1:
        return 1.0
    from scipy import stats  # slow to load, and needed here alone

    ranks = stats.rankdata(np.concatenate([found, expected]))  # infinite values rank last, and equal ones alike
    return float(stats.mannwhitneyu(ranks[: len(found)], ranks[len(found) :], method="asymptotic").pvalue)
