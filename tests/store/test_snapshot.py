"""Snapshots: what a store gives to others, and that those which deadheat brings are sound."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from store import export as exporting
from store import parquet
from store.commands import app
from store.database import Store
from store.export import FOLDERS, QUESTIONS, READINGS_EVERY_S, export
from store.parquet import columns
from store.records import EnvironmentRow, GateRow, ReadingRow, Row, RunRow
from store.snapshot import ABOUT, SNAPSHOTS, Snapshot, SnapshotError, read_snapshot, read_snapshots, snapshot_text
from tests.store.rows import DAY, MOMENT, row, values, whole_run

BROUGHT = sorted(path.parent for path in SNAPSHOTS.glob(f"*/{ABOUT}"))
MOST_BYTES = 3_000_000
A_MACHINES_FOLDER = re.compile(r"(?<!…)/(?:home|root|tmp|work|usr|opt|var|mnt|srv|Users)/")


def measured(run_id: str = "r1", **changes: object) -> list[Row]:
    """Return a run of the machine "owl", with paths in its texts and ten readings a second."""
    of_run = {"campaign_id": "c1", "heat_id": "h1", "runner_class": "framework", **changes}
    plain = [one for one in whole_run(run_id, **of_run) if not isinstance(one, (EnvironmentRow, ReadingRow, RunRow))]
    return [
        *plain,
        row(RunRow, run_id=run_id, message="owl: no such file: /srv/jo/lib/libx.so; see https://x.org/a/b", **of_run),
        row(EnvironmentRow, hostname="owl", versions='{"julia": {"depot": "/srv/jo/.julia/x", "blas": "a/b"}}'),
        row(GateRow, campaign_id=of_run["campaign_id"], cause="/tmp/owl/gates/x differs"),
        row(GateRow, campaign_id="", gate_id="by hand"),
        *(row(ReadingRow, run_id=run_id, at_s=at / 10, edge="", scope="run", device_index=None) for at in range(40)),
        *(row(ReadingRow, run_id=run_id, at_s=at / 10, edge="", scope="collector") for at in range(40)),
        row(ReadingRow, run_id=run_id, at_s=1.05, edge="epoch_stop", scope="run", device_index=None),
    ]


@pytest.fixture
def source(store: Store) -> Store:
    """Return a store of two campaigns and a run of a test double."""
    store.append("one", measured(), day=DAY)
    later = MOMENT + timedelta(days=1)
    store.append("two", measured("r2", campaign_id="c2", heat_id="h2", started_at=later), day=DAY)
    store.append("fake", measured("r3", campaign_id="c3", heat_id="h3", runner_class="test"), day=DAY)
    return store


def texts(store: Store) -> str:
    """Return everything that a store says, as one text."""
    return "\n".join(str(value) for table in QUESTIONS for line in store.rows(f"SELECT * FROM {table}").values
                     for value in line)  # fmt: skip


def test_a_snapshot_is_a_store_of_whole_runs(source: Store, tmp_path: Path) -> None:
    """Every run with all that belongs to it, but for test doubles; one file per table."""
    about = export(source, tmp_path / "barn", title="Owls")
    made = Store(tmp_path / "barn")

    assert values(made, "SELECT run_id FROM runs ORDER BY 1") == ["r1", "r2"]
    for table in ("phases", "epochs", "measurements"):
        mine = f"SELECT * FROM {table} WHERE run_id <> 'r3' ORDER BY ALL"
        assert made.rows(mine).values == source.rows(mine).values
    assert made.check() == []
    assert about == read_snapshot(tmp_path / "barn")
    assert (about.campaigns, about.runs) == (["c1", "c2"], 2)
    assert about.measured == "2026-01-02, 03:04 to 2026-01-03, 03:04 UTC"
    assert len(list((tmp_path / "barn").rglob("*.parquet"))) == len(QUESTIONS)
    assert not (tmp_path / "barn" / "views.sql").exists()


def test_one_campaign_can_be_chosen(source: Store, tmp_path: Path) -> None:
    """With its own gates only."""
    export(source, tmp_path / "barn", title="Owls", campaigns=["c2"])
    made = Store(tmp_path / "barn")

    assert values(made, "SELECT run_id FROM runs") == ["r2"]
    assert values(made, "SELECT DISTINCT campaign_id FROM gates") == ["c2"]


def test_a_snapshot_names_no_machine_and_no_folder(source: Store, tmp_path: Path) -> None:
    """The rest of a message, and addresses of the web, stay."""
    export(source, tmp_path / "barn", title="Owls")
    made = Store(tmp_path / "barn")

    assert "owl" not in texts(made)
    assert not A_MACHINES_FOLDER.search(texts(made))
    assert values(made, "SELECT DISTINCT hostname FROM environments") == ["barn"]
    assert values(made, "SELECT DISTINCT message FROM runs") == ["barn: no such file: …/libx.so; see https://x.org/a/b"]
    assert values(made, "SELECT versions FROM environments") == ['{"julia": {"depot": "…/x", "blas": "a/b"}}']


@pytest.mark.parametrize(("host", "told"), [("train", "barn"), ("x", "train")])
def test_a_machine_that_is_called_like_a_suite_changes_no_name(
    store: Store, tmp_path: Path, host: str, told: str
) -> None:
    """Names are no texts: suite, campaign and phase stay; the machine's own name goes, however short."""
    names = {"campaign_id": "train-1", "suite": "train", "mode": "train", "heat_id": "h1", "runner_class": "framework"}
    rows = [one for one in whole_run("r1", **names) if not isinstance(one, EnvironmentRow)]
    store.append("one", [*rows, row(EnvironmentRow, hostname=host, settings='{"TMP": "train"}')], day=DAY)
    export(store, tmp_path / "barn", title="Owls")
    made = Store(tmp_path / "barn")

    assert made.check() == []
    assert made.rows("SELECT suite, mode, campaign_id FROM runs").values == [("train", "train", "train-1")]
    assert values(made, "SELECT DISTINCT phase FROM phases") == ["train"]
    assert made.rows("SELECT hostname, settings FROM environments").values == [("barn", f'{{"TMP": "{told}"}}')]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("LD_PRELOAD=/a/x.so:/srv/jo/y.so", "LD_PRELOAD=…/x.so:…/y.so"),
        ("-I/srv/jo/include -L/a/b", "-I…/include -L…/b"),
        ("file:///srv/jo/x, C:/Users/jo", "file://…/x, C:…/jo"),
        ("see https://x.org/a/b and https://x.org:8080/a/b", "see https://x.org/a/b and https://x.org:8080/a/b"),
        ("1/s, a/b/c, ./a/b, ../a/b", "1/s, a/b/c, ./a/b, ../a/b"),
        ("…/x.so:…/y.so", "…/x.so:…/y.so"),
    ],
)
def test_the_folders_of_a_path_go_wherever_it_stands(text: str, cleaned: str) -> None:
    """In a list, behind an option, behind a scheme; addresses of the web, shares and paths from nowhere stay."""
    assert FOLDERS.sub("…/", text) == cleaned


@pytest.mark.parametrize("title", ["", "  "])
def test_a_snapshot_without_a_title_is_refused(source: Store, tmp_path: Path, title: str) -> None:
    """As a person reads it."""
    with pytest.raises(SnapshotError, match=r"--title: got '\s*'; expected what was measured, in words"):
        export(source, tmp_path / "barn", title=title)


@pytest.mark.parametrize("reason", [OSError("the disk is full"), KeyboardInterrupt()])
def test_an_export_that_ends_early_leaves_nothing(
    source: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: BaseException
) -> None:
    """Neither a snapshot nor a part of one; and a part left by a kill is nothing that is read."""

    def broken(_: Snapshot) -> str:
        raise reason

    monkeypatch.setattr(exporting, "snapshot_text", broken)
    with pytest.raises(type(reason)):
        export(source, tmp_path / "barn", title="Owls")
    assert [path for path in tmp_path.iterdir() if path != source.path] == []
    monkeypatch.undo()
    export(source, tmp_path / "barn", title="Owls")
    (tmp_path / "barn").rename(tmp_path / ".barn.part")
    assert read_snapshots(tmp_path) == ()


def test_readings_are_thinned_but_at_the_edges_of_phases(source: Store, tmp_path: Path) -> None:
    """No gap that the view of curves would not read over, nothing of deadheat itself."""
    export(source, tmp_path / "barn", title="Owls", campaigns=["c1"])
    made = Store(tmp_path / "barn")
    kept = values(made, "SELECT at_s FROM readings WHERE edge = '' ORDER BY at_s")

    assert 40 * 0.1 / READINGS_EVERY_S <= len(kept) <= 15
    assert max(later - earlier for earlier, later in itertools.pairwise(kept)) <= 0.5
    assert values(made, "SELECT at_s FROM readings WHERE edge <> ''") == [1.05]
    assert values(made, "SELECT DISTINCT scope FROM readings") == ["run"]


def test_a_snapshot_of_a_snapshot_is_the_same(source: Store, tmp_path: Path) -> None:
    """So that one can be brought to a new schema."""
    export(source, tmp_path / "barn", title="Owls")
    export(Store(tmp_path / "barn"), tmp_path / "again" / "barn", title="Owls")

    assert texts(Store(tmp_path / "again" / "barn")) == texts(Store(tmp_path / "barn"))
    assert (tmp_path / "again" / "barn" / ABOUT).read_text() == (tmp_path / "barn" / ABOUT).read_text()


@pytest.mark.parametrize(
    ("name", "campaigns", "message"),
    [
        ("Barn", [], r"Barn: got the name 'Barn'; expected 1 to 80 small letters, .* the first a letter or a digit"),
        ("-barn", [], r"got the name '-barn'; expected 1 to 80"),
        ("b" * 81, [], r"expected 1 to 80"),
        ("there", [], r"there: exists; expected a new folder"),
        ("barn", ["c9"], r"--campaign: got 'c9'; expected one of c1, c2 in "),
    ],
)
def test_what_cannot_be_exported_is_refused(
    source: Store, tmp_path: Path, name: str, campaigns: list[str], message: str
) -> None:
    """Nothing is left behind."""
    (tmp_path / "there").mkdir()
    with pytest.raises(SnapshotError, match=message):
        export(source, tmp_path / name, title="Owls", campaigns=campaigns)

    assert sorted(path.name for path in tmp_path.iterdir() if path != source.path) == ["there"]


@pytest.mark.parametrize("campaigns", [[], ["c1"]])
def test_a_store_without_runs_is_no_snapshot(store: Store, tmp_path: Path, campaigns: list[str]) -> None:
    """It says what makes some, whatever was asked for."""
    with pytest.raises(SnapshotError, match="holds no runs; expected some to export"):
        export(store, tmp_path / "barn", title="Owls", campaigns=campaigns)


def test_the_command_says_what_was_left_out(source: Store, tmp_path: Path) -> None:
    """And how to look at what it made."""
    done = CliRunner().invoke(app, ["export", str(tmp_path / "barn"), "--title", "Owls", "--store", str(source.path)])

    assert done.exit_code == 0, done.output
    assert "2 runs of c1, c2, 0.0" in done.output
    assert "Left out: raw files; the machine's name" in done.output


def test_a_store_answers_with_what_lies_beside_it(source: Store, tmp_path: Path) -> None:
    """It reads the others and writes to itself only; a run that both have is there once."""
    export(source, tmp_path / "barn", title="Owls", campaigns=["c1"])
    own = Store(tmp_path / "own", beside=[tmp_path / "barn"])

    assert own.is_empty()
    assert values(own, "SELECT run_id FROM runs") == ["r1"]
    own.append("mine", measured("r1") + measured("r4"), day=DAY)
    assert values(own, "SELECT run_id FROM runs ORDER BY 1") == ["r1", "r4"]
    assert values(own, "SELECT count(*) FROM epochs WHERE run_id = 'r1'") == [2]
    assert values(Store(tmp_path / "own"), "SELECT count(*) FROM runs") == [2]


def test_what_a_snapshot_says_comes_back(tmp_path: Path) -> None:
    """Quotes, backslashes and lines included."""
    about = Snapshot(
        name="barn", title='An "owl"\\ in\na barn', machine="π", measured="then", commit="", versions=["a 1", '"'],
        campaigns=["c"], runs=3, left_out=[],
    )  # fmt: skip
    (tmp_path / "barn").mkdir()
    (tmp_path / "barn" / ABOUT).write_text(snapshot_text(about), encoding="utf-8")

    assert read_snapshots(tmp_path) == (about,)
    (tmp_path / "barn").rename(tmp_path / "shed")
    with pytest.raises(SnapshotError, match=r"name: got 'barn'; expected the folder's own name 'shed'"):
        read_snapshots(tmp_path)


def test_two_snapshots_with_one_campaign_are_refused(source: Store, tmp_path: Path) -> None:
    """Its runs would be there twice, under two titles."""
    for name in ("barn", "shed"):
        export(source, tmp_path / name, title="Owls", campaigns=["c1"])

    with pytest.raises(SnapshotError, match="campaign c1 is in barn and in shed; expected it in one"):
        read_snapshots(tmp_path)


@pytest.mark.parametrize("folder", BROUGHT, ids=lambda folder: folder.name)
def test_a_snapshot_that_deadheat_brings_is_sound(folder: Path) -> None:
    """Whole, of the present schema, true to what it says, small, and of no machine that has a name.

    One of an older schema is brought to the present one by exporting it: deadheat export NEW --store OLD.
    """
    store, about = Store(folder), read_snapshot(folder)

    assert store.check() == []
    for path in folder.rglob("*.parquet"):
        table = path.parents[1].name
        assert parquet.flaw(path, table, whole=True) == ""
        assert pq.read_schema(path).names == [column.name for column in columns(table)], path
    runs = store.query("SELECT campaign_id, hostname FROM runs JOIN environments USING (environment_id)")
    assert (len(runs), sorted(set(runs["campaign_id"]))) == (about.runs, about.campaigns)
    assert set(runs["hostname"]) == {about.name}
    assert not A_MACHINES_FOLDER.search(texts(store))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MOST_BYTES
