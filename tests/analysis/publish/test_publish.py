"""The site as it is written: builds, holds the data, and every query on it gives its numbers."""

from __future__ import annotations

import html
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import chdir, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.publish.publish import publish_site
from analysis.publish.server import site_server
from analysis.rendering import queries
from analysis.rendering.wording import sentence
from analysis.results.reader import read_results
from analysis.results.results import ResultsError
from store.database import Store
from store.errors import StoreWarning
from store.export import export
from store.records import TABLES, RunRow
from tests.analysis.builders import PYTORCH, START, Campaign
from tests.analysis.sites import queries_on, small_rows, visible_text, write_store

OUTSIDE = re.compile(r"""<(?:script|link|img|source|iframe|use)[^>]*?(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where this module's sites are made; they share the kept drawings."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the small store."""
    return write_store(tmp_path_factory.mktemp("store"), small_rows())


@pytest.fixture(scope="module")
def built(store: Store, work: Path) -> Path:
    """Return the site of the small store, built so that any warning would fail."""
    return publish_site(store, work / "site", work=work, strict=True).parent


def pages(site: Path) -> Iterator[tuple[str, str]]:
    """Yield the address and text of each page but the one for addresses that do not exist."""
    for path in sorted(set(site.rglob("*.html")) - {site / "404.html"}):
        yield path.relative_to(site).as_posix(), path.read_text(encoding="utf-8")


def rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with numbers to nine digits: a sum in another order differs in the last."""
    return [{k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def test_a_site_has_a_page_for_each_workload_and_run(built: Path, store: Store) -> None:
    """And one for everything else that the navigation names."""
    found = {address for address, _ in pages(built)}
    run_ids = store.query("SELECT run_id FROM runs")["run_id"]

    assert {f"runs/{run_id}.html" for run_id in run_ids} < found
    assert {"workloads/mnist_mlp.html", "workloads/mnist_mlp_steps.html", "workloads/mnist_lenet.html"} < found
    assert {"index.html", "gate.html", "environments.html", "data.html", "trends.html", "runs/index.html"} < found
    assert {"explanation/method.html", "reference/runner-contract.html", "how-to/measure.html"} < found


def test_a_site_asks_nothing_of_anyone_else(built: Path) -> None:
    """No script, style, font or picture comes from another address; links may lead there."""
    for address, text in pages(built):
        assert not OUTSIDE.search(text), address
    for style in built.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8")


def test_every_local_link_and_picture_leads_somewhere(built: Path) -> None:
    """On every page, generated and hand-written."""
    for address, text in pages(built):
        for written in re.findall(r'(?:href|src|data-spec|data-values)="([^"]+)"', text):
            target = re.split("[#?]", html.unescape(written))[0]
            if target and not target.startswith(("https:", "http:")):
                assert (built / address).parent.joinpath(target).exists(), (address, target)


def test_every_link_into_a_page_meets_a_place_there(built: Path) -> None:
    """Cells, workloads of the gate, and the mark beside each heading."""
    texts = {(built / address).resolve(): text for address, text in pages(built)}
    places = {path: set(map(html.unescape, re.findall(r'id="([^"]+)"', text))) for path, text in texts.items()}

    met = set()
    for path, text in texts.items():
        for written in map(html.unescape, re.findall(r'<a [^>]*?href="([^"]+)"', text)):
            target, _, place = written.partition("#")
            lands_on = (path.parent / target).resolve() if target else path
            if place and lands_on in places:
                met.add(place)
                assert place in places[lands_on], (path, written)
    assert {"cell-1", "gate-1", "train-1", "exceptions"} <= met


def test_every_query_on_the_site_runs_on_the_store_and_on_the_downloads(built: Path, store: Store) -> None:
    """And both give the same answer: DuckDB reads views.sql in the folder of the downloads."""
    asked = {sql for address, text in pages(built) if not address.startswith("runs/") for sql in queries_on(text)}
    asked |= set(queries_on((built / "runs" / "python_jax-jit-3.html").read_text(encoding="utf-8")))

    assert len(asked) > 15
    with closing(duckdb.connect()) as connection:
        connection.execute(f"SET file_search_path = '{built / 'data'}'")
        connection.execute((built / "data" / "views.sql").read_text(encoding="utf-8"))
        for sql in sorted(asked):
            downloaded = connection.sql(sql).to_arrow_table().to_pylist()
            assert rounded(downloaded) == rounded(store.arrow(sql).to_pylist()), sql


def test_the_query_of_a_difference_gives_the_ratio_that_the_page_shows(store: Store) -> None:
    """On both clocks, with and without a target."""
    found = [finding for finding in read_results(store).findings if finding.ratio is not None]

    assert {finding.metric for finding in found} >= {"time_to_target_e2e_s", "train_clock_s"}
    for finding in found:
        sql = queries.differences(finding.cell, finding.baseline, finding.clock, finding.epochs_to_target)
        row = store.query(sql).set_index("entry").loc[finding.candidate]
        assert row["ratio"] == pytest.approx(finding.ratio, rel=1e-9)
        assert row["candidate_s"] == pytest.approx(finding.candidate_value, rel=1e-9)
        assert row["heats"] == finding.heats


def test_the_query_of_failures_gives_the_runs_that_the_page_lists(store: Store) -> None:
    """Crashed and unavailable ones, and nobody else."""
    for finding in read_results(store).findings:
        found = set(store.query(queries.failures_of(finding.cell))["status"])
        assert found == {"mnist_mlp": {"unavailable"}, "mnist_lenet": {"crashed"}}.get(finding.cell.workload, set())


def test_the_downloads_hold_every_row_and_every_finding(built: Path, store: Store) -> None:
    """A table each, and the findings as the terminal exports them."""
    findings = json.loads((built / "data" / "findings.json").read_text(encoding="utf-8"))

    for table in TABLES:
        rows = store.query(f"SELECT count(*) AS n FROM {table}")["n"].iloc[0]
        assert pq.read_metadata(built / "data" / f"{table}.parquet").num_rows == rows
    assert [found["sentence"] for found in findings] == [sentence(f) for f in read_results(store).findings]


def test_the_site_documents_every_column(built: Path) -> None:
    """From the list that there is, so none can be missing."""
    text = (built / "data.html").read_text(encoding="utf-8")

    for kind in TABLES.values():
        assert all(f'<th scope="row">{name}</th>' in text for name in kind.__dataclass_fields__)


def test_small_raw_files_are_copied_and_large_ones_named(built: Path) -> None:
    """A log of any length does not swell the site."""
    crashed = (built / "runs" / "mnist_lenet-python_numpy-default-1.html").read_text(encoding="utf-8")

    assert (built / "raw" / "python_jax-jit-3" / "events.jsonl").is_file()
    assert not (built / "raw" / "mnist_lenet-python_numpy-default-1" / "log.txt").exists()
    assert "too large for the site" in crashed


def test_a_second_build_draws_nothing_again(built: Path, store: Store, work: Path) -> None:
    """Still pictures are kept by what they show."""
    kept = {path: path.stat().st_mtime_ns for path in (work / ".cache" / "stills").iterdir()}

    publish_site(store, work / "site", work=work)

    assert kept
    assert {path: path.stat().st_mtime_ns for path in (work / ".cache" / "stills").iterdir()} == kept


def test_an_empty_store_gives_a_site_that_says_what_to_do(work: Path, tmp_path: Path) -> None:
    """The hand-written pages are there too, and no link leads nowhere."""
    index = publish_site(Store(tmp_path / "none"), work / "empty", work=work, strict=True)

    assert "deadheat run demo" in visible_text(index.read_text(encoding="utf-8"))
    assert (index.parent / "explanation" / "method.html").is_file()
    assert not (tmp_path / "none").exists()


def test_a_store_without_runs_shows_what_was_measured_elsewhere(store: Store, work: Path, tmp_path: Path) -> None:
    """A fresh clone has a site with verdicts, and every link on it leads somewhere."""
    about = export(store, tmp_path / "barn", title="Owls in a barn")
    own = Store(tmp_path / "none", beside=[tmp_path / "barn"])
    index = publish_site(own, work / "brought", work=work, strict=True, snapshots=[about])

    home = visible_text(index.read_text(encoding="utf-8"))
    assert "python_jax: slower on both clocks, against python_pytorch" in home
    assert "Measured elsewhere. Owls in a barn: a snapshot that deadheat brings" in home
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    """Building empties its folder; a mistyped path must not cost anything."""
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")

    with pytest.raises(ResultsError, match="holds files that are no site of deadheat"):
        publish_site(store, tmp_path, work=tmp_path / "work")
    assert precious.read_text() == "years of work"


def test_a_file_as_output_is_refused(store: Store, tmp_path: Path) -> None:
    """With a sentence, before anything is read."""
    path = tmp_path / "file"
    path.touch()

    with pytest.raises(ResultsError, match="is a file; expected a folder"):
        publish_site(store, path, work=tmp_path / "work")


def test_a_damaged_file_in_the_store_costs_its_rows_and_nothing_else(work: Path, tmp_path: Path) -> None:
    """The site is built from what can be read, and the file is named."""
    store = write_store(tmp_path / "store", Campaign(racers=(PYTORCH,), heats=1).rows())
    [run] = [row for row in Campaign(racers=(PYTORCH,), heats=1).rows() if isinstance(row, RunRow) and not row.control]
    store.append("second", [replace(run, run_id="second", heat_id="second")], day=START.date())
    damaged = next((tmp_path / "store" / "records" / "runs").rglob("second.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:100])

    with pytest.warns(StoreWarning, match=r"second\.parquet"):
        index = publish_site(store, work / "damaged", work=work)
    assert (index.parent / "workloads" / "mnist_mlp.html").is_file()
    assert not (index.parent / "runs" / "second.html").exists()


def test_names_that_are_no_file_names_stay_inside_the_site(work: Path, tmp_path: Path) -> None:
    """A store may hold any text as an id."""
    runs = [
        replace(row, run_id="../../escape", workload="../w", heat_id="h", heat_size=1)
        for row in Campaign(racers=(PYTORCH,), heats=1).rows()
        if isinstance(row, RunRow) and not row.control
    ]
    store = Store(tmp_path / "store")
    store.append("one", runs, day=START.date())

    index = publish_site(store, work / "hostile", work=work, strict=True)

    assert not list(work.parent.glob("escape*"))
    assert "../../escape" in (index.parent / "runs" / "index.html").read_text(encoding="utf-8")
    shutil.rmtree(work / "hostile")


def test_the_command_says_where_the_site_is(store: Store, built: Path, tmp_path: Path) -> None:
    """Its last line is the path of the front page, which exists."""
    shutil.copytree(built.parent / ".cache", tmp_path / "build" / ".cache")
    with chdir(tmp_path):
        result = CliRunner().invoke(app, ["site", "--store", str(store.path), "--strict"], catch_exceptions=False)
        index = Path(result.stdout.strip().rpartition("The site: ")[2])

    assert result.exit_code == 0
    assert index.is_file()
    assert index.name == "index.html"


def test_a_port_that_is_taken_is_named(built: Path) -> None:
    """Instead of a traceback of the socket."""
    with site_server(built, 0) as server, pytest.raises(ResultsError, match=rf"--port: {server.server_port} cannot be"):
        site_server(built, server.server_port)


def test_the_server_lets_no_page_fetch_from_elsewhere_or_evaluate_text(built: Path) -> None:
    """The policy is sent with every answer."""
    with site_server(built, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer = httpx.get(f"http://127.0.0.1:{server.server_port}/index.html")
        server.shutdown()

    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert "default-src 'self'" in policy
    assert "unsafe-eval" not in policy
