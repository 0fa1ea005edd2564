"""The only writer of pages: store in, site out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock

from analysis.pages import all_pages
from analysis.pages.listings import data_page
from analysis.publish.downloads import write_downloads
from analysis.publish.mkdocs_build import build_site
from analysis.publish.run_files import read_run_files
from analysis.rendering import charts
from analysis.rendering.render import CHARTS, Chart, Page
from analysis.rendering.run_charts import RUN_CURVES, run_curve
from analysis.results.reader import read_results
from analysis.results.results import Results, ResultsError
from store.database import Store
from store.snapshot import Snapshot

PROJECT = Path(__file__).resolve().parent.parent.parent
ASSETS = Path(__file__).parent.parent / "assets"
PROTOCOL = PROJECT / "collector" / "protocol" / "README.md"
STILL_WIDTH = 720
VEGA_LITE = "6.4"
MARKER = ".deadheat-site"


def publish_site(
    store: Store,
    output: Path,
    *,
    work: Path = Path("build"),
    strict: bool = False,
    site_url: str = "",
    snapshots: Sequence[Snapshot] = (),
) -> Path:
    """Write the site of a store into `output` and return its front page.

    Parameters
    ----------
    work
        Where pages, charts and drawings are kept before they are built: `docs/` and `.cache/` below it.
    strict
        Fail on what the builder warns of, such as a dead link.
    site_url
        The address that the site will have; only its map of pages needs it.
    snapshots
        Those whose runs are in the store or beside it: they are shown as measured elsewhere.

    Raises
    ------
    ResultsError
        If `output` holds something else, the project's pages are missing, or the builder refuses.
    """
    _require_ours(output)
    work.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(work / ".site.lock"):
        docs = work / "docs"
        _copy_pages(docs)
        results = read_results(store, snapshots)
        pages = all_pages.result_pages(results)
        pages += write_runs(results, store, docs)
        pages.append(data_page(write_downloads(store, results.findings, docs)))
        write_pages(pages, docs, work / ".cache")
        build_site(PROJECT / "mkdocs.yml", docs, output, strict=strict, site_url=site_url)
        (output / MARKER).touch()
    return output / "index.html"


def write_pages(pages: Iterable[Page], docs: Path, cache: Path) -> None:
    """Write pages with their charts, as specifications and as still pictures of both colour schemes."""
    write_assets(docs, cache)
    stills = cache / "stills"
    stills.mkdir(parents=True, exist_ok=True)
    used: set[Path] = set()
    for page in pages:
        _write(docs / page.path, page.text)
        for chart in page.charts:
            used |= write_chart(chart, docs / CHARTS, stills)
    for old in set(stills.iterdir()) - used:
        old.unlink()


def write_chart(chart: Chart, folder: Path, stills: Path) -> set[Path]:
    """Write one chart; a still picture is drawn only when nothing equal is kept. Returns the kept ones it used."""
    _write(folder / f"{chart.name}.json", _json(chart.spec))
    used = set()
    for scheme in charts.SCHEMES:
        spec, theme = chart.spec | {"width": STILL_WIDTH}, charts.theme(scheme)
        kept = stills / f"{hashlib.sha256(_json([spec, theme]).encode()).hexdigest()[:32]}.svg"
        if not kept.exists():
            _write(kept, draw(spec, theme))
        shutil.copyfile(kept, folder / f"{chart.name}.{scheme}.svg")
        used.add(kept)
    return used


def draw(spec: charts.Spec, theme: charts.Spec) -> str:
    """Return a still picture (SVG) of a specification."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=theme))


def write_assets(docs: Path, cache: Path) -> None:
    """Write scripts, styles, themes, and the library that draws charts."""
    shutil.copytree(ASSETS, docs / "assets", dirs_exist_ok=True)
    _write(docs / CHARTS / "themes.json", _json(charts.themes()))
    for name in RUN_CURVES:
        _write(docs / CHARTS / f"run-{name}.json", _json(run_curve(name)))
    shutil.copyfile(_vega(cache), docs / "assets" / "javascripts" / "vega.js")


def write_runs(results: Results, store: Store, docs: Path) -> list[Page]:
    """Write the curves and copies of raw files of every run, and return their pages."""
    run_files = read_run_files(store, results.runs, docs)
    made = all_pages.run_pages(results, run_files)
    for run in made:
        _write(docs / "assets" / "runs" / f"{run.curve_name}.json", _json(run.curve))
    return [run.page for run in made]


def _copy_pages(docs: Path) -> None:
    """Copy the hand-written pages, and the runner contract as it stands beside the runners."""
    source = PROJECT / "docs"
    if not (PROJECT / "mkdocs.yml").is_file() or not source.is_dir():
        raise ResultsError(
            f"{PROJECT}: has no mkdocs.yml and docs/; expected the project's own folder, because its pages are part of "
            "the site. Install deadheat with pip install --editable from a checkout."
        )
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(source, docs)
    (docs / "reference").mkdir(exist_ok=True)
    shutil.copyfile(PROTOCOL, docs / "reference" / "runner-contract.md")


def _require_ours(output: Path) -> None:
    """Refuse a folder with other content: building empties it."""
    if output.exists() and not output.is_dir():
        raise ResultsError(f"--output: {output} is a file; expected a folder. Choose another.")
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).exists():
        raise ResultsError(
            f"--output: {output} holds files that are no site of deadheat; expected an empty or new folder, because "
            "building empties it. Choose another, or empty it yourself."
        )


def _vega(cache: Path) -> Path:
    """Return the library that draws charts, as one file: bundled once per version from the installed package."""
    import vl_convert

    kept = cache / f"vega-{version('vl-convert-python')}.js"
    if not kept.exists():
        _write(kept, vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
    return kept


def _json(content: Any) -> str:  # noqa: ANN401 - whatever a specification holds
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _write(path: Path, text: str) -> None:
    """Write a file so that an interruption leaves none of it behind half done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)  # noqa: PTH105
