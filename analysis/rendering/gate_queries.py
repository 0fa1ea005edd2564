"""The SQL behind what the gate said: in one cell's campaign, and last of all, here before elsewhere (pure text)."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.findings.finding import Cell
from analysis.rendering.queries import literal
from store.view import VIEWS

KEYS = ("runner", "variant", "workload", "optimizer", "loader", "device", "dtype")
COLUMNS = """\
SELECT runner || ':' || variant AS entry, workload, optimizer, loader, device, dtype, part, passed, quantity, expected,
    found, error, tolerance, cause, exceptions, gated_at"""


def gates_in(cell: Cell) -> str:
    """Return the last result of each part of the gate in a cell's own campaign."""
    optimizer = f"\n    AND coalesce(optimizer, {literal(cell.optimizer)}) = {literal(cell.optimizer)}"
    return f"""\
{COLUMNS}
FROM gates
WHERE campaign_id = {literal(cell.campaign_id)} AND workload = {literal(cell.workload)}
    AND device = {literal(cell.device)} AND dtype = {literal(cell.dtype)}
    AND coalesce(loader, {literal(cell.loader)}) = {literal(cell.loader)}{optimizer if cell.optimizer else ""}
QUALIFY row_number() OVER (PARTITION BY runner, variant, part ORDER BY gated_at DESC) = 1
ORDER BY ALL"""


def gates(elsewhere: Mapping[str, str]) -> str:
    """Return what the page of the gate shows of `latest_gates`."""
    return f"{COLUMNS}, elsewhere\nFROM (\n{latest_gates(elsewhere)}\n)\nORDER BY ALL"


def latest_gates(elsewhere: Mapping[str, str]) -> str:
    """Return the last result of each part of the gate (`GateRow`), and `elsewhere`: the snapshot that it is of, if any.

    What the store itself knows of an entry, workload, optimizer, loader, device and dtype decides alone, however old.

    Parameters
    ----------
    elsewhere
        The title of the snapshot that a campaign comes from, by the campaign's id.
    """
    if not elsewhere:
        return "SELECT *, '' AS elsewhere FROM latest_gates"
    campaigns = ", ".join(map(literal, elsewhere))
    titles = " ".join(f"WHEN {literal(campaign)} THEN {literal(title)}" for campaign, title in elsewhere.items())
    same = " AND ".join(f"own.{key} IS NOT DISTINCT FROM others.{key}" for key in KEYS)
    return f"""\
WITH own AS (
{_latest_where(f"campaign_id NOT IN ({campaigns})")}
), others AS (
{_latest_where(f"campaign_id IN ({campaigns})")}
)
SELECT *, '' AS elsewhere FROM own
UNION ALL
SELECT *, CASE campaign_id {titles} END AS elsewhere FROM others
WHERE NOT EXISTS (SELECT * FROM own WHERE {same})"""


def _latest_where(condition: str) -> str:
    """Return the view `latest_gates` as it is of some of the results alone."""
    return VIEWS["latest_gates"].replace("FROM gates", f"FROM (SELECT * FROM gates WHERE {condition}) AS gates")
