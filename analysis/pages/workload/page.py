"""The page of one workload: what was found, how sure it is, and every run behind it (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.findings.find import gates_of
from analysis.findings.finding import CLOCKS, Cell, Finding
from analysis.frames.prices import Rates
from analysis.pages.addresses import source, workload_address
from analysis.pages.gate import DECLINED, is_declined
from analysis.pages.workload.cost import cost_part
from analysis.pages.workload.families import families_query, families_table, parts_of
from analysis.pages.workload.figures import (
    accuracy_chart,
    findings_query,
    forest_chart,
    forest_of_both_clocks,
    phase_chart,
    pooled_epochs,
)
from analysis.pages.workload.inference import inference_part
from analysis.pages.workload.repetition import levels_part
from analysis.pages.workload.resource_curves import aligned_charts
from analysis.pages.workload.resources import best_known, device_memory_table, energy_words, resources_table
from analysis.pages.workload.runs import runs_part
from analysis.pages.workload.scaling import scaling_tables
from analysis.pages.workload.steady_state import steady_part
from analysis.pages.workload.sweeps import AXES, Sweep, find_sweeps, sweep_charts, sweep_tables, sweep_words
from analysis.pages.workload.targets import crossings_table, factors_table, targets_table
from analysis.pages.workload.variance import control_words, place_words, variance_table
from analysis.rendering import queries, tables
from analysis.rendering.gate_queries import gates_in
from analysis.rendering.render import Chart, Page, page
from analysis.rendering.repeated_heats import repeated_words
from analysis.rendering.tables import Table
from analysis.rendering.wording import (
    DIVISIONS,
    cell_title,
    cell_words,
    difference_words,
    interval_words,
    seconds,
    sentence,
)
from analysis.results.cell_results import (
    CELL_FIELDS,
    CLOCK_NAMES,
    CellResults,
    page_order,
    phase_medians,
    placed,
    verdict_counts,
)
from store.records import PHASES
from store.repetition import HEATS_FOR_A_VERDICT

FINDING_COLUMNS = ("entry", "took", "compared with the baseline", "95 % interval", "heats", "verdict")
CLOCK_HEADINGS = {
    "train": "Train clock: training steps only",
    "e2e": "End to end (e2e clock): everything since the process was started",
}
NO_RATES = Rates()


def workload_page(
    workload: str,
    cells: Sequence[CellResults],
    gates: pd.DataFrame,
    pages: dict[str, str],
    absent: pd.DataFrame,
    rates: Rates = NO_RATES,
) -> Page:
    """Return the page of a workload.

    Parameters
    ----------
    cells
        Of this workload, the newest campaign's first; older campaigns are listed as replications.
    gates
        Every result of the gate: a cell shows those of its own campaign, which its verdicts rest on.
    pages
        The address of each run's page, from the root of the site.
    absent
        Who could not take part in which cell of this workload (`RunRow`, `entry`), also where nobody could.
    rates
        What an hour of which machine costs.
    """
    campaign_id = cells[0].cell.campaign_id if cells else absent["campaign_id"].iloc[-1]
    newest = page_order([mine for mine in cells if mine.cell.campaign_id == campaign_id])
    older = [mine for mine in cells if mine.cell.campaign_id != campaign_id]
    inferring = [mine for mine in newest if mine.cell.mode == "infer"]
    training = newest[: len(newest) - len(inferring)]
    sections = [
        section(mine, cells, gates, pages, rates, n, is_whole=_leads(training, n)) for n, mine in enumerate(training)
    ]
    sweeps = [_sweep_part(sweep, f"{workload}-{n}") for n, sweep in enumerate(find_sweeps(training))]
    inference = inference_part(inferring, workload)
    context = {
        "workload": workload,
        "contents": contents_table(newest),
        "cells": len(newest),
        "sweeps": sweeps,
        "sections": sections,
        "inference": inference,
        "inference_runs": [runs_part(mine, pages) for mine in inferring],
        "declined": declined_table(newest, absent[absent["campaign_id"] == campaign_id]),
        "declined_query": queries.declined(campaign_id, workload),
        "older": [older_table(mine) for mine in older if mine.elsewhere is None],
        "elsewhere": [older_table(mine) for mine in older if mine.elsewhere],
        "heats_for_a_verdict": HEATS_FOR_A_VERDICT,
        "controls": control_words(training),
    }
    made = [chart for part in (*sweeps, *([inference] if inference else [])) for chart in part["charts"]]
    made += [chart for part in sections for chart in part["figures"]]
    return page(source(workload_address(workload)), "workload.md.jinja", context, tuple(made))


def _leads(cells: Sequence[CellResults], number: int) -> bool:
    """Whether a cell is the first of its mode and division: those that follow differ from it in an axis alone."""
    kinds = [(mine.cell.mode, mine.cell.track) for mine in cells]
    return kinds[number] not in kinds[:number]


def section(
    mine: CellResults,
    cells: Sequence[CellResults],
    gates: pd.DataFrame,
    pages: dict[str, str],
    rates: Rates,
    number: int,
    *,
    is_whole: bool,
) -> dict[str, Any]:
    """Return what the template says about one cell: with all its charts, or with the one that has both clocks."""
    name = f"{mine.cell.workload}-{number}"
    target = target_accuracy(mine.runs)
    forests = {clock: forest_chart(mine, clock, f"{name}-{clock}") if is_whole else None for clock in CLOCKS}
    charts = _charts(mine, name, target, is_whole=is_whole)
    figures = (*forests.values(), charts["both"], charts["phases"], *charts["curves"], *charts["used"])
    return {
        "title": cell_words(mine.cell),
        "division": DIVISIONS[mine.cell.track],
        "is_open": mine.cell.track == "open",
        "is_whole": is_whole,
        "mine": mine,
        "heats": mine.heats,
        "is_insufficient": mine.heats < HEATS_FOR_A_VERDICT,
        "clocks": [clock_part(mine, clock, number, forests[clock]) for clock in CLOCKS],
        **charts,
        **_target_part(mine, target, is_whole=is_whole),
        "families_table": families_table(mine),
        "families_query": families_query(mine),
        "phases_table": phases_table(mine),
        "variance_table": variance_table(mine),
        "variance_query": queries.spreads(mine.cell),
        **_whole_part(mine, cells, rates, is_whole=is_whole),
        "positions": place_words(mine),
        "gate_table": gate_table(mine, gates),
        "gate_query": gates_in(mine.cell),
        "figures": [chart for chart in (*figures, (charts["parts"] or {}).get("chart")) if chart],
        "repeated": repeated_words(mine.attempts),
        "repeated_query": queries.repeated(mine.cell),
        **runs_part(mine, pages),
    }


def _whole_part(mine: CellResults, cells: Sequence[CellResults], rates: Rates, *, is_whole: bool) -> dict[str, Any]:
    """Return what only a cell with all its charts says."""
    if not is_whole:
        return {"resources": [], "cost": None, "steady": None}
    return {
        "resources": [resources_table(mine), device_memory_table(mine)],
        "cost": cost_part(mine, rates),
        "steady": steady_part(mine),
        **levels_part(mine, cells),
    }


def _charts(mine: CellResults, name: str, target: float | None, *, is_whole: bool) -> dict[str, Any]:
    """Return the charts of one cell beside its forests, by what the template calls them."""
    if not is_whole:
        both = forest_of_both_clocks(mine, f"{name}-both")
        return {"both": both, "phases": None, "curves": [], "used": [], "parts": None}
    curves = (accuracy_chart(mine, clock, f"{name}-accuracy-{clock}", target) for clock in CLOCKS)
    return {
        "both": None,
        "phases": phase_chart(mine, f"{name}-phases"),
        "curves": [chart for chart in curves if chart],
        "used": aligned_charts(mine, name),
        "parts": parts_of(mine, f"{name}-parts"),
    }


def _target_part(mine: CellResults, target: float | None, *, is_whole: bool) -> dict[str, Any]:
    """Return what the template says about reaching the target accuracy; without one there is nothing to reach."""
    pooled = pooled_epochs(mine)
    tables: dict[str, Any] = {
        "crossings_table": None,
        "crossings_query": None,
        "factors_table": None,
        "targets_table": None,
    }
    if target is not None:
        tables["crossings_table"] = crossings_table(mine, target)
        tables["crossings_query"] = queries.crossings(mine.cell, target)
    if target is not None and is_whole:
        tables["factors_table"] = factors_table(mine, target)
        tables["targets_table"] = targets_table(mine, target)
    return {
        "epochs_to_target": pooled,
        "target": target,
        "energy": energy_words(mine, pooled),
        "best_known": best_known(mine.cell.workload, target),
        **tables,
    }


def _sweep_part(sweep: Sweep, name: str) -> dict[str, Any]:
    """Return what the template says about one axis."""
    title = f"{AXES[sweep.axis]}: {sweep.rest}"
    return {
        "title": title[:1].upper() + title[1:],
        "charts": sweep_charts(sweep, f"{name}-{sweep.axis.replace('_', '-')}"),
        "tables": [*sweep_tables(sweep), *scaling_tables(sweep)],
        "words": sweep_words(sweep),
    }


def contents_table(cells: Sequence[CellResults]) -> Table:
    """Return what stands on the page: every cell with its division and its verdicts counted."""
    rows = [
        (
            tables.link(f"#{anchor}", cell_words(mine.cell)),
            DIVISIONS[mine.cell.track],
            tables.count(mine.heats, "heat"),
            verdict_counts(mine),
        )
        for mine, anchor in placed(cells)
    ]
    columns = ("cell", "division", "heats", "verdicts on both clocks")
    prose = (columns[0], columns[1], columns[3])
    return Table(caption="What was measured in this campaign", columns=columns, rows=rows, prose=prose)


def declined_table(cells: Sequence[CellResults], absent: pd.DataFrame) -> Table:
    """Return who could not take part in cells that nobody ran: no other place on the page names them."""
    known = {mine.cell for mine in cells}
    rows = [
        (cell_words(cell), row["entry"], row["status"], row["message"])
        for row in absent.to_dict("records")
        if (cell := Cell(**{name: row[name] for name in CELL_FIELDS})) not in known
    ]
    columns = ("cell", "entry", "ending", "why")
    return Table(caption="Asked for, and run by nobody", columns=columns, rows=rows, prose=("cell", "why"))


def clock_part(mine: CellResults, clock: str, number: int, forest: Chart | None) -> dict[str, Any]:
    """Return what the template says about one clock of a cell."""
    return {
        "heading": CLOCK_HEADINGS[clock],
        "anchor": f"{clock}-{number + 1}",
        "sentences": [sentence(finding) for finding in mine.on(clock)],
        "table": findings_table(mine, clock),
        "forest": forest,
        "floor": floor_words(mine, clock),
        "query": findings_query(mine, clock),
    }


def target_accuracy(runs: pd.DataFrame) -> float | None:
    """Return the accuracy to reach; none in mode steps."""
    known = runs["target_accuracy"].dropna()
    return float(known.iloc[0]) if len(known) else None


def findings_table(mine: CellResults, clock: str) -> Table:
    """Return the candidates of a cell on one clock under their baseline."""
    found = mine.on(clock)
    known = [f for f in found if f.baseline_value is not None]
    widest = max(known, key=lambda f: f.heats, default=None)
    first = (
        Markup("<strong>{}</strong>").format(mine.label(mine.baseline)),
        seconds(widest.baseline_value if widest else None),
        "baseline",
        tables.NOTHING,
        widest.heats if widest else 0,
        tables.NOTHING,
    )
    caption = f"On the {CLOCK_NAMES[clock]}: geometric means over the heats where both completed"
    return Table(
        caption=caption,
        columns=FINDING_COLUMNS,
        rows=[first, *(_finding_row(mine, f) for f in found)],
        numeric=("took", "heats"),
    )


def floor_words(mine: CellResults, clock: str) -> str:
    """Return what the A/A control says about the machine."""
    floor = next((f.floor_ratio for f in mine.on(clock) if f.floor_ratio), None)
    if floor is None:
        return "The baseline's second run in each heat did not complete often enough to say what this machine can tell."
    return (
        f"Run twice in the same heat, the baseline differs from itself by up to {100 * (floor - 1):.1f} % "
        "(95 % interval): smaller differences are noise here."
    )


def phases_table(mine: CellResults) -> Table:
    """Return the medians of the phases as numbers."""
    wide = phase_medians(mine).pivot(index="label", columns="phase", values="duration_s")
    present = [phase for phase in PHASES if phase in wide.columns]
    labels = [label for entry in mine.entries if (label := mine.label(entry)) in wide.index]
    cells = wide.to_dict("index")
    rows = [(label, *(seconds(cells[label][phase]) for phase in present)) for label in labels]
    return Table(caption="Median seconds of each phase", columns=("entry", *present), rows=rows, numeric=present)


def gate_table(mine: CellResults, gates: pd.DataFrame) -> Table:
    """Return whether each entry proved that it does the same work, and where it failed."""
    of_cell = gates_of(mine.cell, gates).sort_values("gated_at")
    ours = of_cell.drop_duplicates(["runner", "variant", "part"], keep="last")
    entries = ours["runner"] + ":" + ours["variant"]
    rows = [_gate_row(mine, entry, ours[entries == entry]) for entry in mine.entries]
    return Table(caption="Equivalence gate", columns=("entry", "result", "parts", "why"), rows=rows, prose=("why",))


def older_table(mine: CellResults) -> Table:
    """Return the findings of an older campaign: a replication, never pooled with newer ones."""
    when = tables.moment(mine.attempts["started_at"].min())
    where = f" on {mine.elsewhere.machine}" if mine.elsewhere else ""
    rows = [
        (
            mine.label(f.candidate),
            CLOCK_NAMES[f.clock],
            difference_words(f),
            interval_words(f),
            f.heats,
            tables.pill(f.verdict),
        )
        for clock in CLOCKS
        for f in mine.on(clock)
    ]
    columns = ("entry", "clock", f"compared with {mine.label(mine.baseline)}", "95 % interval", "heats", "verdict")
    caption = f"Measured {when}{where}, {cell_title(mine.cell)}"
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[2:5])


def _finding_row(mine: CellResults, finding: Finding) -> tuple[object, ...]:
    return (
        mine.label(finding.candidate),
        seconds(finding.candidate_value),
        difference_words(finding),
        interval_words(finding),
        finding.heats,
        tables.pill(finding.verdict),
    )


def _gate_row(mine: CellResults, entry: str, parts: pd.DataFrame) -> tuple[object, ...]:
    label = mine.label(entry)
    if parts.empty:
        return label, "not gated", tables.NOTHING, "no result of the gate is stored for it"
    failed = parts[~parts["passed"].astype(bool)]
    if (declined := failed[is_declined(failed)]).size:
        return label, "unsupported", tables.NOTHING, declined["found"].iloc[-1].removeprefix(DECLINED)
    if failed.empty:
        return label, "✓ passed", ", ".join(sorted(parts["part"])), tables.NOTHING
    return label, "✕ failed", ", ".join(sorted(failed["part"])), "; ".join(_failures(failed))


def _failures(failed: pd.DataFrame) -> Iterator[str]:
    for row in failed.to_dict("records"):
        cause = f" ({row['cause']})" if row["cause"] else ""
        yield f"part {row['part']}: {row['quantity']} is {row['found']}, expected {row['expected']}{cause}"
