"""What workload pages say beside the verdicts: targets, levels, front ends, resources, scaling."""

from __future__ import annotations

import dataclasses
import re

from analysis.pages.workload.families import parts_of
from analysis.pages.workload.resources import device_memory_table, energy_words, resources_table
from analysis.pages.workload.scaling import laws_table, scaling_tables, speed_up_table
from analysis.pages.workload.sweeps import Sweep, sweep_words
from analysis.pages.workload.targets import crossings_table, factors_table, targets_table
from analysis.pages.workload.variance import components_of, control_words, levels_table, place_words
from analysis.rendering.part_charts import PartPoint, part_intervals
from analysis.results.cell_results import CellResults, cell_results
from store.records import PhaseRow, RunRow
from tests.analysis.builders import JAX, PYTORCH, Campaign
from tests.analysis.findings.test_decomposition import ELIXIR
from tests.analysis.sites import of_workload, results_of

TARGET = 0.96


def cells_of(*campaigns) -> list[CellResults]:
    """Return the cells of several campaigns, the newest first."""
    return cell_results(results_of([row for campaign in campaigns for row in campaign]))


def rows_of(campaign_id="demo-1", mark="", **options):
    """Return the rows of a campaign under another name."""
    made = Campaign(racers=(PYTORCH, JAX, ELIXIR), changes={"campaign_id": campaign_id}, **options).rows()
    return [
        dataclasses.replace(row, run_id=row.run_id + mark) if hasattr(row, "run_id") else row for row in made
    ]  # fmt: skip


def by_first(table):
    """Return the rows of a table by their first cell."""
    return {row[0]: row[1:] for row in table.rows}


def test_the_observed_times_have_intervals_and_say_who_was_first():
    """Ten of ten: 72 to 100 %; the slower candidate is never before the baseline."""
    (mine,) = cells_of(rows_of())
    found = by_first(crossings_table(mine, TARGET))

    assert found["python_pytorch"][0] == "10 of 10 (72 to 100 %)"
    assert found["python_pytorch"][-1] is None
    assert found["python_jax"][-1] == "0 % (0 to 28 %)"
    assert re.fullmatch(r"[\d.]+ s \([\d.]+ s to ([\d.]+ s|…)\)", found["python_jax"][3])


def test_who_never_arrives_has_no_median_and_counts_with_the_plan():
    """0 of 10: a dash, and the whole plan as its epochs."""
    (mine,) = cells_of(rows_of(accuracies=[0.5]))

    assert by_first(crossings_table(mine, TARGET))["python_jax"][0] == "0 of 10 (0 to 28 %)"
    assert by_first(crossings_table(mine, TARGET))["python_jax"][1] == "–"
    assert by_first(factors_table(mine, TARGET))["python_jax"][0].startswith("3 (")


def test_the_factors_are_the_entrys_own():
    """1 and 1.342 seconds per epoch, and the same epochs within their intervals."""
    (mine,) = cells_of(rows_of(heat_deviation=0.001, run_deviation=0.001))
    found = by_first(factors_table(mine, TARGET))

    assert found["python_pytorch"][1].startswith("1.00 s (")
    assert found["python_jax"][1].startswith("1.34 s (")
    assert found["python_jax"][3] == "–"  # slower and with the same fixed costs, up to noise: never


def test_a_runner_that_prepares_longer_and_trains_faster_breaks_even():
    """10 s more before the first epoch, half a second less in each: after 20 epochs."""
    late = dataclasses.replace(JAX, fixed_s=12.0, train_s_per_epoch=0.5, eval_s=0.05)
    quiet = {"heat_deviation": 1e-6, "run_deviation": 1e-6}
    (mine,) = cells_of(Campaign(racers=(PYTORCH, late), **quiet).rows())

    assert by_first(factors_table(mine, TARGET))["python_jax"][3] == "20"


def test_easier_targets_are_met_earlier():
    """92, 94 and 96 %: in that order."""
    (mine,) = cells_of(rows_of(quarters_deviation=0.0))
    table = targets_table(mine, TARGET)

    assert table.columns == ("entry", "92.00 %", "94.00 %", "96.00 %")
    epochs = [float(cell.split(", ")[1]) for cell in by_first(table)["python_pytorch"]]
    assert epochs == sorted(epochs)
    assert epochs[0] < epochs[-1]


def test_levels_are_taken_over_all_campaigns_of_the_same_cell():
    """One campaign says nothing of campaigns; two do, and only of the same cell."""
    first, second = rows_of(), rows_of("demo-2", "b", seed=2)
    newest, _ = cells_of(first, second)
    alone, together = (
        by_first(levels_table(newest, components_of(newest, cells))) for cells in ([newest], cells_of(first, second))
    )

    assert alone["python_pytorch"][1] == "–"
    assert together["python_pytorch"][1].endswith("(2)")
    assert together["python_pytorch"][0] == "–"


def test_the_control_tests_of_a_page_are_counted():
    """Two clocks of one cell are two tests; without heats there is nothing to say."""
    (mine,) = cells_of(rows_of())

    assert control_words([mine]).startswith("Of 2 A/A tests on this page (the baseline against itself) ")
    assert control_words([]) == ""
    (short,) = cells_of(rows_of(heats=3))
    assert control_words([short]) == ""
    assert place_words(short) == []


def test_front_ends_and_libraries_stand_in_a_chart_and_a_table():
    """Elixir on the same kernels, JAX in the same language; each ratio with its interval."""
    (mine,) = cells_of(rows_of())
    found = parts_of(mine, "parts")

    assert [row[:4] for row in found["table"].rows] == [
        ("front end", "libtorch", "elixir_torchx", "python_pytorch"),
        ("library", "Python", "python_jax", "python_pytorch"),
    ]
    assert re.match(r"3[34]\.\d % longer \(3", found["table"].rows[1][4])
    assert found["chart"].alt.count(":") >= 2
    (alone,) = cells_of(Campaign(racers=(PYTORCH,)).rows())
    assert parts_of(alone, "parts") is None


def test_a_difference_without_an_interval_is_a_point():
    """Below six heats."""
    spec = part_intervals([PartPoint(label="a / b", kind="library", ratio=1.2, low=None, high=None, words="20 %")])

    assert spec["layer"]


def test_resources_are_listed_by_phase_and_energy_only_where_it_was_read():
    """Three CPU seconds in each training interval; joules for the epochs to the target."""
    quiet = rows_of(heats=2)
    read = [
        dataclasses.replace(row, cpu_s=2 * row.duration_s, cpu_energy_j=10.0) if isinstance(row, PhaseRow) else row
        for row in quiet
    ]
    (mine,), (without,) = cells_of(read), cells_of(quiet)
    train = next(row for row in resources_table(mine).rows if row[:2] == ("python_pytorch", "train"))

    assert train[3] == "2"
    assert energy_words(mine, 1.0)[0].startswith("python_pytorch used ")
    # Six phases before training, and of 24 intervals of training and evaluation a third, at 10 J each.
    assert energy_words(mine, 1.0)[0] == "python_pytorch used 140 J to the target (median)."
    assert energy_words(without, 1.0) == []
    assert energy_words(mine, None) == []


def test_device_memory_is_listed_where_a_runtime_counts_it():
    """Two of three GiB are in use; JAX counts nothing, and without a device there is no row at all."""
    rows = [
        dataclasses.replace(row, device_bytes_used=2 * 2**30, device_bytes_reserved=3 * 2**30)
        if isinstance(row, RunRow) and row.runner == "python_pytorch"
        else row
        for row in rows_of(heats=2)
    ]
    (mine,), (without,) = cells_of(rows), cells_of(rows_of(heats=2))

    assert device_memory_table(mine).rows == [("python_pytorch", "2.00 GiB", "3.00 GiB")]
    assert device_memory_table(without).rows == []


def scaled(threads, seconds):
    """Return the rows of a campaign with that many threads and seconds per epoch of the baseline and JAX."""
    racers = tuple(dataclasses.replace(r, train_s_per_epoch=s) for r, s in zip((PYTORCH, JAX), seconds, strict=True))
    made = Campaign(racers=racers, heats=3, changes={"threads": threads}, heat_deviation=1e-6, run_deviation=1e-6)
    return [
        dataclasses.replace(
            row,
            run_id=f"{row.run_id}-{threads}",
            **({"heat_id": f"{row.heat_id}-{threads}"} if isinstance(row, RunRow) else {}),
        )
        if hasattr(row, "run_id")
        else row
        for row in made.rows()
    ]


def test_threads_have_speed_up_efficiency_the_laws_and_the_place_of_a_change():
    """A perfect baseline and a half serial rival, which is ahead on one thread only."""
    cells = cells_of(*(scaled(n, (8.0 / n, 6.0 * (0.5 + 0.5 / n))) for n in (1, 2, 4, 8)))
    sweep = Sweep(axis="threads", cells=sorted(cells, key=lambda mine: mine.cell.threads))
    gained, laws = by_first(speed_up_table(sweep)), by_first(laws_table(sweep))

    assert gained["python_pytorch"][:3] == ("1.00 × (100 %)", "2.00 × (100 %)", "4.00 × (100 %)")
    assert laws["python_pytorch"][0].startswith("0.0 %")
    assert gained["python_jax"][1] == "1.33 × (67 %)"
    assert laws["python_jax"][0].startswith("50.0 % (")
    assert laws["python_jax"][1].startswith("50.0 % (")
    assert laws["python_jax"][2].startswith("0.000 % (0.000 to ")
    assert sweep_words(sweep)[0].startswith("python_jax and python_pytorch change places between 1 and 2 threads ")


def test_too_few_threads_for_a_law_are_said():
    """Two places: neither law, in words."""
    cells = cells_of(*(scaled(n, (8.0 / n, 6.0)) for n in (1, 2)))
    sweep = Sweep(axis="threads", cells=sorted(cells, key=lambda mine: mine.cell.threads))

    assert by_first(laws_table(sweep))["python_jax"][-1].startswith("neither: 2 places")


def test_along_batch_sizes_there_are_speed_ups_and_no_law():
    """A batch is no worker."""
    made = [Campaign(racers=(PYTORCH, JAX), heats=2, changes={"batch_size": size}) for size in (32, 128)]
    rows = [of_workload("mnist_mlp", one.rows(), ids=str(n)) for n, one in enumerate(made)]
    (table,) = scaling_tables(Sweep(axis="batch_size", cells=cells_of(*rows)))

    assert table.columns == ("entry", "32", "128")
    assert by_first(table)["python_pytorch"][0] == "1.00 ×"


def test_every_row_has_as_many_cells_as_there_are_columns():
    """Tables of a whole campaign."""
    (mine,) = cells_of(rows_of())
    tables = (crossings_table(mine, TARGET), factors_table(mine, TARGET), targets_table(mine, TARGET))
    for table in (*tables, levels_table(mine, components_of(mine, [mine]))):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert not resources_table(mine).rows
