"""Mode infer: how long one forward pass takes, and how many examples a second brings (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.findings.finding import Finding
from analysis.pages.workload.sweeps import find_sweeps, sweep_charts
from analysis.rendering import queries, tables
from analysis.rendering.tables import Table
from analysis.rendering.wording import cell_words, difference_words, seconds
from analysis.results.cell_results import CellResults

LATENCIES = ("infer_latency_p50_s", "infer_latency_p95_s")


def inference_part(cells: Sequence[CellResults], name: str) -> dict[str, Any] | None:
    """Return what the template says about the cells of mode infer; none without any."""
    if not cells:
        return None
    found = [chart for n, sweep in enumerate(find_sweeps(cells)) for chart in sweep_charts(sweep, f"{name}-infer-{n}")]
    cell = cells[0].cell
    return {
        "table": inference_table(cells),
        "query": queries.inference(cell.campaign_id, cell.workload),
        "charts": found,
    }


def inference_table(cells: Sequence[CellResults]) -> Table:
    """Return latency, throughput and verdict of each entry in each cell."""
    rows = [_row(mine, entry) for mine in cells for entry in mine.entries if entry in set(mine.completed["entry"])]
    columns = (
        "forward passes", "entry", "runs", "median latency", "95th percentile", "examples per second",
        "compared with the baseline", "verdict",
    )  # fmt: skip
    return Table(
        caption="Latency of one synchronised forward pass, and throughput without waiting after each",
        columns=columns,
        rows=rows,
        numeric=columns[2:6],
    )


def _row(mine: CellResults, entry: str) -> tuple[object, ...]:
    runs = mine.measured[mine.measured["entry"] == entry]
    finding: Finding | None = next((f for f in mine.on("train") if f.candidate == entry), None)
    return (
        cell_words(mine.cell),
        mine.label(entry),
        len(runs),
        *(seconds(runs[name].median()) for name in LATENCIES),
        tables.number(runs["infer_examples_per_s"].median(), 4),
        difference_words(finding) if finding else "baseline",
        tables.pill(finding.verdict) if finding else tables.NOTHING,
    )
