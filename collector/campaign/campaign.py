"""One execution of a suite in one environment: what it plans, and what of it is still to be done."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from collector.plan.heat_order import Heat
from collector.plan.matrix import Suite
from store.database import Store
from store.definition import content_hash
from store.errors import DeadheatError

# An ending that says nothing about the runner's speed: its heat is repeated, blind to the times of the others.
# So is the heat of a contaminated run; both attempts are kept.
VOIDING = ("crashed", "timed_out", "out_of_memory", "bad_events")


class CampaignError(DeadheatError):
    """A campaign whose manifest cannot be read."""


HISTORY = """
select heat_id, heat_attempt, max(heat_size) as size, count(*) as runs,
       count(*) filter (status = 'interrupted') as interrupted,
       count(*) filter (list_contains(?, status) or contaminated) as voided
from runs where campaign_id = ? and heat_id <> '' group by heat_id, heat_attempt
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """The manifest kept as `campaigns/<campaign_id>.json`; records refer to it by its id."""

    campaign_id: str
    suite: str
    suite_content: str
    environment_id: str
    number: int
    started_at: str
    heats: tuple[str, ...]  # heat_ids in the order they are run

    def heat_id(self, heat: Heat) -> str:
        """Return the id under which `heat` is stored."""
        return _heat_id(self.campaign_id, heat)


@dataclass(frozen=True, slots=True)
class HeatHistory:
    """What the store knows of one heat."""

    attempts: int  # number of the last one, complete or not
    complete: int  # attempts in which every run ended by itself
    clean: bool  # whether one of those had no voiding ending and no contaminated run

    def is_done(self, allowed_attempts: int) -> bool:
        """Whether nothing is left to do: a clean attempt, or as many attempts as the suite allows."""
        return self.clean or self.complete >= allowed_attempts


NEVER_RUN = HeatHistory(attempts=0, complete=0, clean=False)


def new_campaign(suite: Suite, environment_id: str, heats: Sequence[Heat], number: int) -> Campaign:
    """Return the manifest of a campaign that begins now."""
    content = suite.content
    key = content_hash(content, environment_id, *(heat.content for heat in heats))
    campaign_id = f"{suite.name}-{key[:8]}-{number}"
    return Campaign(
        campaign_id=campaign_id,
        suite=suite.name,
        suite_content=content,
        environment_id=environment_id,
        number=number,
        started_at=datetime.now(UTC).isoformat(),
        heats=tuple(_heat_id(campaign_id, heat) for heat in heats),
    )


def read_campaigns(store: Store) -> list[Campaign]:
    """Return the campaigns begun in `store`, oldest first."""
    manifests = sorted((store.path / "campaigns").glob("*.json"))
    return sorted(map(_read_campaign, manifests), key=lambda campaign: (campaign.started_at, campaign.number))


def _read_campaign(path: Path) -> Campaign:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Campaign(**{**content, "heats": tuple(content["heats"])})
    except (OSError, ValueError, TypeError, KeyError) as reason:
        raise CampaignError(
            f"{path}: is no campaign ({reason}); expected the manifest that a collection wrote. Its records are "
            "safe: move the file away, and the suite begins a new campaign."
        ) from None


def write_campaign(store: Store, campaign: Campaign) -> None:
    """Keep the manifest; it appears whole or not at all."""
    path = store.path / "campaigns" / f"{campaign.campaign_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(campaign), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def latest_campaign(campaigns: Sequence[Campaign], suite: Suite, environment_id: str) -> Campaign | None:
    """Return the newest campaign of this suite content in this environment."""
    key = (suite.content, environment_id)
    same = [campaign for campaign in campaigns if (campaign.suite_content, campaign.environment_id) == key]
    return same[-1] if same else None


def read_history(store: Store, campaign_id: str) -> dict[str, HeatHistory]:
    """Return what the store knows of each heat of a campaign that has at least one run."""
    frame = store.query(HISTORY, [list(VOIDING), campaign_id])
    attempts: dict[str, list[Mapping[str, int]]] = {}
    for row in frame.to_dict("records"):
        attempts.setdefault(str(row["heat_id"]), []).append({str(k): v for k, v in row.items() if k != "heat_id"})
    return {heat_id: _history(rows) for heat_id, rows in attempts.items()}


def read_attempts(store: Store, campaign_id: str) -> Counter[str]:
    """Return how often each trial of a campaign has been run."""
    frame = store.query("select trial_id from runs where campaign_id = ? and heat_id <> ''", [campaign_id])
    return Counter(frame["trial_id"].astype(str))


def is_finished(campaign: Campaign, history: Mapping[str, HeatHistory], allowed_attempts: int) -> bool:
    """Whether every heat of the campaign is done."""
    return all(history.get(heat_id, NEVER_RUN).is_done(allowed_attempts) for heat_id in campaign.heats)


def _history(rows: Sequence[Mapping[str, int]]) -> HeatHistory:
    complete = [row for row in rows if row["runs"] == row["size"] and row["interrupted"] == 0]
    return HeatHistory(
        attempts=max(int(row["heat_attempt"]) for row in rows),
        complete=len(complete),
        clean=any(row["voided"] == 0 for row in complete),
    )


def _heat_id(campaign_id: str, heat: Heat) -> str:
    return content_hash(campaign_id, heat.content)
