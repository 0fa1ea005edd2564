"""Which heats of a campaign are due now, by the rule of repetition of their cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collector.campaign.campaign import NEVER_RUN, Campaign, read_history
from collector.plan.heat_order import Heat
from collector.plan.matrix import Cell, Suite
from collector.plan.repetition import heats_now, largest_deviation
from store.database import Store
from store.repetition import PILOT_HEATS

PILOT = """
select heat_id, runner || ':' || variant as entry, baseline, control, train_clock_s, e2e_clock_s
from counted_runs
where campaign_id = ? and repetition <= ? and status = 'completed' and contaminated is not true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The heats that are due, and for how many heats of each cell its rule has been decided."""

    due: Sequence[Heat]
    planned: Mapping[str, int | None]  # cell key -> heats; none: a pilot, which decides it


def next_stage(campaign: Campaign, suite: Suite, heats: Sequence[Heat], store: Store) -> Stage:
    """Return what is to be run before anybody may look at a verdict; nothing is due once a campaign is finished."""
    history = read_history(store, campaign.campaign_id)
    undone = [h for h in heats if not history.get(campaign.heat_id(h), NEVER_RUN).is_done(suite.heat_attempts)]
    allowed = {
        cell.key: heats_now(
            cell.repetitions,
            cell.heats,
            min((heat.repetition for heat in undone if heat.cell.key == cell.key), default=cell.heats + 1) - 1,
            _pilots_deviation(campaign, cell, heats, store),
            suite.equivalence_margin_ratio,
        )
        for cell in {heat.cell.key: heat.cell for heat in heats}.values()
    }
    piloting = {h.cell.key for h in heats if h.cell.repetitions == "pilot" and allowed[h.cell.key] == PILOT_HEATS}
    return Stage(
        due=[heat for heat in undone if heat.repetition <= allowed[heat.cell.key]],
        planned={key: None if key in piloting else number for key, number in allowed.items()},
    )


def _pilots_deviation(campaign: Campaign, cell: Cell, heats: Sequence[Heat], store: Store) -> float | None:
    """Return the spread that the pilot of a cell showed; none without a pilot."""
    if cell.repetitions != "pilot":
        return None
    mine = {campaign.heat_id(heat) for heat in heats if heat.cell.key == cell.key}
    runs = store.query(PILOT, [campaign.campaign_id, PILOT_HEATS])
    return largest_deviation(runs[runs["heat_id"].isin(mine)])
