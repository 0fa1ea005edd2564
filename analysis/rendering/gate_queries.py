"""The SQL behind what the gate said: in one cell's campaign, and last of all, here before elsewhere (pure text)."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.findings.finding import Cell
from analysis.frames.views import latest_gates, literal

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
