"""What disturbed a run: by how much, in which window, and never what the run or deadheat itself used."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from collector.run.contamination import judged
from collector.telemetry import Reading
from store.records import EpochRow, PhaseRow, RunRow
from tests.store.rows import row

SECOND = 1_000_000_000
SPAWNED_NS = 77 * SECOND
TRAINING = ((2.0, 7.0), (8.0, 12.0))  # of a run of 12 s
PERIODS = 120


def at(second: float) -> int:
    return SPAWNED_NS + round(second * SECOND)


def series(scope: str, fields, *, source: str = "", start_s: float = -0.05, stop_s: float = 12.05, **fixed):
    """Return readings every 0.1 s; each of `fields` is a function of the second."""
    times = [start_s + number * (stop_s - start_s) / PERIODS for number in range(PERIODS + 1)]
    return [
        Reading(
            at_ns=at(second),
            source=source or {"run": "cgroup_v2"}.get(scope, "machine"),
            scope=scope,
            quality="exact",
            **{name: value(second) for name, value in fields.items()},
            **fixed,
        )
        for second in times
    ]


def ramp(per_s: float, start_s: float = 0.0, stop_s: float = 12.0, before: float = 0.0):
    """Return a running total that grows by `per_s` from one second to another."""
    return lambda second: before + per_s * (min(max(second, start_s), stop_s) - start_s)


NOTHING = ramp(0.0)


def machine_of(foreign=NOTHING, **fields) -> list[Reading]:
    """Return a machine on which a run uses one core, deadheat 0.04 of one, and others what `foreign` says."""
    machine = {"cpu_s": lambda second: 500 + ramp(1.04)(second) + foreign(second)} | fields
    return [
        *series("machine", machine),
        *series("run", {"cpu_s": ramp(1.0)}),
        *series("collector", {"cpu_s": ramp(0.04, before=3.0)}),
    ]


def verdict(
    readings: Sequence[Reading], threads: int = 1, device: str = "cpu", training=TRAINING
) -> tuple[RunRow, list[EpochRow]]:
    phases = [
        row(PhaseRow, phase="train", index=index, start_s=start, duration_s=stop - start)
        for index, (start, stop) in enumerate(training)
    ]
    phases.append(row(PhaseRow, phase="shutdown", start_s=12.0, duration_s=0.1))
    epochs = [row(EpochRow, epoch=index + 1.0) for index in range(len(training))]
    run = row(RunRow, threads=threads, device=device)
    return judged(run, phases, epochs, readings, SPAWNED_NS)


def test_a_calm_machine_leaves_no_mark():
    """The run's own seconds and deadheat's are nobody else's."""
    run, epochs = verdict(machine_of())

    assert (run.contaminated, run.contamination) == (False, "")
    assert [epoch.contamination for epoch in epochs] == ["", ""]


def test_a_run_on_every_core_is_not_its_own_disturbance():
    """Two threads on two cores, deadheat on what is left: nothing of it is foreign."""
    readings = [
        *series("machine", {"cpu_s": ramp(2.0), "cpu_pressure_s": ramp(0.5)}),
        *series("run", {"cpu_s": ramp(1.95), "cpu_pressure_s": ramp(0.45)}),
        *series("collector", {"cpu_s": ramp(0.05)}),
    ]

    assert verdict(readings, threads=2)[0].contaminated is False


def test_foreign_cpu_is_told_with_amount_and_window():
    """1.3 CPU seconds of the 12 that one core had."""
    run, epochs = verdict(machine_of(ramp(0.26, 2.0, 7.0)))

    assert run.contaminated is True
    assert run.contamination == "other programs used 1.3 CPU s of 12.0 s (11 %)"
    assert [epoch.contamination for epoch in epochs] == ["other programs used 1.3 CPU s of 5.0 s (26 %)", ""]


def test_what_disturbed_the_training_alone_counts_too():
    """0.56 s are below 5 % of the run, and above 5 % of its training."""
    run, _ = verdict(machine_of(ramp(0.112, 2.0, 7.0)))

    assert run.contaminated is True
    assert run.contamination == "training: other programs used 0.6 CPU s of 10.0 s (6 %)"


def test_more_cores_bear_more_of_others():
    """The same 0.56 s, of four threads: calm."""
    assert verdict(machine_of(ramp(0.112, 2.0, 7.0)), threads=4)[0].contaminated is False


def test_others_on_other_cores_may_use_more():
    """A fifth of a core elsewhere is calm; the same on the run's own core is not, and half a core is never."""
    own_core = {"run_cores_cpu_s": lambda second: 90 + ramp(1.0)(second)}
    shared = {"run_cores_cpu_s": lambda second: 90 + ramp(1.2)(second)}

    assert verdict(machine_of(ramp(0.2), **own_core))[0].contamination == ""
    assert verdict(machine_of(ramp(0.2), **shared))[0].contamination == (
        "other programs used 2.4 CPU s on the cores of the run, of 12.0 s (20 %)"
    )
    assert verdict(machine_of(ramp(0.5), **own_core))[0].contamination == (
        "other programs used 6.0 CPU s of 12.0 s (50 %)"
    )


@pytest.mark.parametrize("missing", ["machine", "run", "collector"])
def test_what_nobody_counted_is_not_called_calm(missing):
    """Without one of the three totals others cannot be told from the run."""
    run, epochs = verdict([reading for reading in machine_of() if reading.scope != missing])

    assert (run.contaminated, run.contamination) == (None, None)
    assert [epoch.contamination for epoch in epochs] == [None, None]


def test_readings_that_end_early_prove_nothing():
    """A disk that was full after 6 s: the first epoch is not fully covered, the second not at all."""
    run, epochs = verdict([reading for reading in machine_of() if reading.at_ns < at(6.0)])

    assert run.contaminated is None
    assert [epoch.contamination for epoch in epochs] == [None, None]


def test_a_short_window_is_not_judged():
    """Ticks of 10 ms are too coarse for it."""
    _, epochs = verdict(machine_of(), training=((2.0, 3.5), (8.0, 12.0)))

    assert [epoch.contamination for epoch in epochs] == [None, ""]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"steal_s": ramp(0.1)}, "the host took 1.2 CPU s of 12.0 s (10 %)"),
        ({"swapped_bytes": ramp(2e6)}, "24 MB were swapped out"),
        (
            {"available_memory_bytes": lambda _: 300_000_000, "memory_bytes": lambda _: 7_700_000_000},
            "only 0.3 GB of 8.0 GB of memory were free",
        ),
        (
            {"governor": lambda second: "powersave" if second < 5 else "performance"},
            "the governor changed: powersave → performance",
        ),
        (
            {"clock_hz": lambda second: 3e9 if second < 7.5 else 2e9},
            "the CPU's clock was 3.00 GHz, in the run's other intervals 2.50 GHz",
        ),
    ],
)
def test_the_machine_s_own_troubles_are_named(fields, text):
    """Steal, swap, memory, governor and clock."""
    assert verdict(machine_of(**fields))[0].contamination == text


@pytest.mark.parametrize(
    "fields",
    [
        {"steal_s": ramp(0.02)},
        {"swapped_bytes": ramp(4096)},
        {"available_memory_bytes": lambda _: 800_000_000, "memory_bytes": lambda _: 7_200_000_000},
        {"governor": lambda _: "powersave"},
        {"clock_hz": lambda second: 3e9 if second < 7.5 else 2.8e9},
    ],
)
def test_the_same_in_small_is_no_disturbance(fields):
    """Below every threshold."""
    assert verdict(machine_of(**fields))[0].contaminated is False


def test_others_that_wait_beside_the_run_are_pressure():
    """The machine's waiting beyond the run's own."""
    readings = [
        *series("machine", {"cpu_s": ramp(1.04), "cpu_pressure_s": ramp(0.5)}),
        *series("run", {"cpu_s": ramp(1.0), "cpu_pressure_s": ramp(0.3), "throttled_s": ramp(0.1)}),
        *series("collector", {"cpu_s": ramp(0.04)}),
    ]

    assert verdict(readings)[0].contamination == (
        "other programs waited for a CPU in 2.4 s of 12.0 s (20 %); "
        "a CPU quota held the run back for 1.2 s of 12.0 s (10 %)"
    )


def test_the_exact_source_counts_where_two_give_the_same():
    """A tree of processes that misses some would make them foreign."""
    tree = [
        Reading(at_ns=r.at_ns, source="process_tree", scope="run", quality="sampled", cpu_s=(r.cpu_s or 0.0) / 2)
        for r in machine_of()
        if r.scope == "run"
    ]

    assert verdict([*machine_of(), *tree])[0].contaminated is False


def test_strangers_and_heat_on_the_run_s_device():
    """Another process, and clocks held back by heat; a power limit is the load's own doing."""
    used = series("device", {
        "foreign_processes": lambda second: int(3 < second < 4),
        "throttle_reasons": lambda second: "sw_power_cap,hw_thermal_slowdown" if second > 11 else "sw_power_cap",
        "run_memory_bytes": lambda _: 10,
    }, source="nvml", device_index=1)  # fmt: skip
    other = series("device", {"foreign_processes": lambda _: 5, "run_memory_bytes": lambda _: 0}, device_index=0)

    run, epochs = verdict([*machine_of(), *used, *other], device="cuda")

    assert (
        run.contamination
        == "1 other process on device 1; device 1 slowed down (hw_thermal_slowdown) in 10 of 119 readings"
    )
    assert epochs[0].contamination == "1 other process on device 1"
    assert verdict([*machine_of(), *used, *other])[0].contaminated is False  # a run on the CPU
