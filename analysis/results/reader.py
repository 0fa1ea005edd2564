"""Reads the store once, for pages and terminal alike."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.findings.finding import CLOCKS
from analysis.findings.trends import DEFAULT_METRICS, Trend, find_series, find_trends, machines
from analysis.frames import views
from analysis.frames.prices import Rates, read_prices
from analysis.frames.validity import marked
from analysis.frames.views import latest_gates
from analysis.results.blas_warnings import blas_warnings
from analysis.results.results import Measured, Results, ResultsError, measured_of, titles_of
from store.definition import near
from store.metrics import METRICS
from store.roster import read_roster
from store.snapshot import Snapshot, read_snapshots
from store.study import read_studies

if TYPE_CHECKING:
    from store.database import Store

CURRENT_VERSIONS = "current_versions.toml"  # in the store's folder
SUITES = Path(__file__).resolve().parent.parent.parent / "collector" / "suites"
_VERSIONS_FORM = 'a version in quotes per framework, such as Flux = "0.16.11"'


def read_measured(store: Store) -> Measured:
    """Return the frames that findings are made of."""
    return measured_of(
        runs=views.read_counted_runs(store),
        epochs=views.read_epochs(store),
        unavailable=views.read_unavailable(store),
        gates=views.read_gates(store),
    )


def read_results(store: Store, snapshots: Sequence[Snapshot] = ()) -> Results:
    """Return everything that pages are made of, except single readings; `snapshots` name what is not of this store."""
    measured = read_measured(store)
    return Results(
        measured=measured,
        findings=measured.findings(),
        runs=marked(views.read_runs(store), measured.epochs),
        phases=views.read_phases(store),
        measurements=views.read_measurements(store),
        gates=views.read_latest_gates(store, latest_gates(titles_of(snapshots))),
        environments=views.read_environments(store),
        aligned=store.query(views.aligned_readings()),
        published=views.read_published(store),
        studies=read_studies(),
        current_versions=read_current_versions(store),
        prices=read_prices(store.path),
        roster=read_roster(),
        snapshots=snapshots,
        suites=read_suites(),
    )


def snapshots_beside(store: Store) -> list[Snapshot]:
    """Return the snapshots that deadheat brings, without those whose campaigns this store was measured in itself."""
    own = set(views.read_runs(store)["campaign_id"])
    return [snapshot for snapshot in read_snapshots() if not own & set(snapshot.campaigns)]


def read_suites(folder: Path = SUITES) -> tuple[str, ...]:
    """Return the names of the suites that deadheat brings."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def read_machines(store: Store) -> dict[str, str]:
    """Return the machine of each environment, in words."""
    return machines(views.read_environments(store))


def read_warnings(store: Store, environment_ids: Collection[str]) -> list[str]:
    """Return what was wrong with some environments."""
    environments = views.read_environments(store)
    mine = environments[environments["environment_id"].isin(list(environment_ids))]
    return [words for row in mine.to_dict("records") for words in blas_warnings(row)]


def read_rates(store: Store) -> Rates:
    """Return the prices per hour that stand in the store's folder, and the machine of each environment."""
    return Rates(machines=read_machines(store), prices=read_prices(store.path))


def read_current_versions(store: Store, path: Path | None = None) -> dict[str, str]:
    """Return the newest version of each framework, by its name: of a file, or of the one in the store's folder.

    Nothing is asked of the network. Without any file nothing is known.

    Raises
    ------
    ResultsError
        If the file is not there though it was named, or is not a list of names with versions.
    """
    place = path or store.path / CURRENT_VERSIONS
    if path is None and not place.is_file():
        return {}
    try:
        content = tomllib.loads(place.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as reason:
        raise ResultsError(
            f"{place}: cannot be read ({reason}); expected {_VERSIONS_FORM}. Correct the file."
        ) from None
    for name, version in content.items():
        if not isinstance(version, str):
            raise ResultsError(f"{place}: {name}: got {version!r}; expected {_VERSIONS_FORM}. Put it in quotes.")
    return dict(content)


def read_trends(
    store: Store, metrics: Sequence[str] = (), workload: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, list[Trend]]:
    """Return the runs and environments of a store with the trends of some metrics, those of pages without any.

    Raises
    ------
    ResultsError
        If a metric or the workload is not known.
    """
    runs, environments = views.read_counted_runs(store), views.read_environments(store)
    named = [f"{name}_clock_s" if name in CLOCKS else name for name in metrics]
    if unknown := [name for name in named if name not in METRICS]:
        known = [*CLOCKS, *METRICS]
        raise ResultsError(
            f"--metric: got {unknown[0]!r}; expected one of {', '.join(known)}. {near(unknown[0], known)}"
        )
    workloads = sorted(set(runs["workload"]))
    if workload is not None and workloads:
        if workload not in workloads:
            raise ResultsError(
                f"--workload: got {workload!r}; measured are {', '.join(workloads)}. {near(workload, workloads)}"
            )
        runs = runs[runs["workload"] == workload]
    found = find_series(runs, environments, views.read_measurements(store), named or DEFAULT_METRICS)
    return runs, environments, find_trends(found, environments)
