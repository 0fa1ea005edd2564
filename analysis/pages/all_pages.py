"""All pages of the site from all results (pure): what there is, and where it stands in the navigation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.findings.finding import COMPARED_TRACKS
from analysis.findings.trends import machines
from analysis.frames.columns import Parts, Record, records
from analysis.frames.prices import Rates
from analysis.pages.addresses import STUDIES_ADDRESS, file_name, run_addresses, workload_address
from analysis.pages.gate import gate_page
from analysis.pages.home import home_page
from analysis.pages.listings import empty_page, environments_page, runs_page
from analysis.pages.run.curves import curve_data
from analysis.pages.run.page import RawFile, RunReadings, run_page
from analysis.pages.studies.page import recipes_of, studies_page
from analysis.pages.trends import trends_page
from analysis.pages.workload.page import workload_page
from analysis.pages.workload.steady_state import METRICS as STEADY
from analysis.pages.workload.steady_state import run_steady_words
from analysis.rendering.render import Page
from analysis.rendering.repeated_heats import repeat_words, repeats
from analysis.results.cell_results import CellResults, cell_results, compared, headline_cell
from analysis.results.results import Results


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What the page of one run is made of beside the store's frames."""

    devices: pd.DataFrame  # its rows of `queries.devices_of`
    sources: pd.DataFrame  # its rows of `queries.sources_of`
    raw: Sequence[RawFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """The page of a run, and the data its curves are drawn from (below `assets/runs/`)."""

    page: Page
    curve_name: str
    curve: Mapping[str, Any]


def result_pages(results: Results) -> list[Page]:
    """Return every page but those of single runs; of a store without runs the front page says what to do."""
    cells = cell_results(results)
    headline = headline_cell(cells)
    addresses = run_addresses(results.runs["run_id"])
    has_recipes = bool(recipes_of(cells))
    return [
        home_page(results, cells, headline) if headline else empty_page(has_studies=has_recipes),
        *_workload_pages(results, cells, addresses),
        studies_page(results, cells),
        trends_page(results),
        runs_page(results, addresses),
        gate_page(results),
        environments_page(results),
    ]


def _workload_pages(results: Results, cells: Sequence[CellResults], addresses: dict[str, str]) -> list[Page]:
    """Return the page of each workload: of all that were asked for but the recipes of studies."""
    absent = results.runs[(results.runs["heat_id"] == "") & results.runs["track"].isin(COMPARED_TRACKS)]
    found: dict[str, list[CellResults]] = {}
    for mine in compared(cells):
        found.setdefault(mine.cell.workload, []).append(mine)
    names = [*found, *(name for name in absent["workload"].unique() if name not in found)]
    gates = results.measured.gates
    rates = Rates(machines=machines(results.environments), prices=results.prices)
    return [
        workload_page(name, found.get(name, []), gates, addresses, absent[absent["workload"] == name], rates)
        for name in names
    ]


def run_pages(results: Results, files: Callable[[str], RunFiles]) -> list[RunPage]:
    """Return the page of each run; `files` gives what the run with an id left behind."""
    addresses = run_addresses(results.runs["run_id"])
    again = repeats(results.runs)
    numbers = {run_id: number for number, run_id in enumerate(results.runs["run_id"])}
    parts = [Parts(frame, numbers) for frame in (results.phases, results.measured.epochs, results.aligned)]
    steady = _steady_numbers(results.measurements)
    return [
        _run_page(
            addresses[run["run_id"]],
            run,
            [records(part.of(number)) for part in parts],
            files(run["run_id"]),
            STUDIES_ADDRESS if run["track"] == "published" else workload_address(run["workload"]),
            repeat_words(run, again),
            _steady_words(run, steady),
        )
        for number, run in enumerate(results.runs.to_dict("records"))
    ]


def navigation(planned: Sequence[Any], paths: Sequence[str]) -> list[Any]:
    """Return the navigation with folders filled in and pages that do not exist left out.

    Parameters
    ----------
    planned
        The `nav` of mkdocs.yml: paths, or mappings of a title to a path or to more of the same. A path that ends in
        `/` stands for the pages of that folder and the folders below, in the order of their names.
    paths
        Every page of this site.

    Examples
    --------
    >>> navigation([{"Workloads": "workloads/"}, {"Gate": "gate.md"}], ["workloads/b.md", "workloads/a.md"])
    [{'Workloads': ['workloads/a.md', 'workloads/b.md']}]
    """
    filled = (_filled(entry, paths) for entry in planned)
    return [entry for entry in filled if entry]


def _filled(entry: Any, paths: Sequence[str]) -> Any:  # noqa: ANN401 - whatever YAML holds
    if isinstance(entry, dict):
        ((title, inner),) = entry.items()
        found = navigation(inner, paths) if isinstance(inner, list) else _filled(inner, paths)
        return {title: found} if found else None
    if entry.endswith("/"):
        return sorted(path for path in paths if path.startswith(entry))
    return entry if entry in paths else None


def _run_page(
    address: str,
    run: Mapping[Any, Any],
    parts: Sequence[Sequence[Record]],
    files: RunFiles,
    workload: str,
    repeated: str,
    steady: str,
) -> RunPage:
    """Return the page of a run; `parts` are its phases, epochs and steps on its grid."""
    phases, epochs, steps = parts
    curve = curve_data(phases, epochs, steps, records(files.devices))
    readings = RunReadings(curve, records(files.sources))
    made = run_page(address, run, phases, epochs, readings, files.raw, workload, repeated, steady)
    return RunPage(page=made, curve_name=file_name(run["run_id"]), curve=curve)


def _steady_numbers(measurements: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return what was found about the steady state of each run, by its id."""
    mine = measurements[measurements["metric"].isin(STEADY)]
    found: dict[str, dict[str, float]] = {}
    for run_id, metric, value in zip(mine["run_id"], mine["metric"], mine["value"], strict=True):
        found.setdefault(str(run_id), {})[str(metric)] = float(value)
    return found


def _steady_words(run: Mapping[Any, Any], numbers: Mapping[str, Mapping[str, float]]) -> str:
    is_training = run["status"] == "completed" and run["mode"] != "infer"
    return run_steady_words(numbers.get(run["run_id"], {})) if is_training else ""
