"""Waiting for a quiet machine: what disturbs is named, and the wait has an end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.machine.idle import Look, look_around, wait_for_calm
from collector.telemetry.machine import TICK_S

CALM = Look(window_s=2.0, foreign_cpu_s=0.05, steal_s=0.0, free_memory_ratio=0.5, device_processes=0)
BUSY = Look(
    window_s=2.0,
    foreign_cpu_s=1.5,
    steal_s=0.0,
    free_memory_ratio=0.5,
    device_processes=None,
    busiest=(("cc1plus", 1.4), ("beam.smp", 0.1)),
)


class Listener:
    """A reporter that keeps what it is told and shown."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.shown: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def show_waiting(self, text: str) -> None:
        self.shown.append(text)


def seconds(step_s: float):
    """Return a clock that goes on by a step each time it is looked at."""
    now = iter(range(10_000))
    return lambda: next(now) * step_s


def test_a_calm_machine_is_not_waited_for():
    """One look is enough, and nobody is told anything."""
    listener = Listener()

    wait_for_calm(listener, 300.0, look=lambda: CALM)

    assert (listener.told, listener.shown) == ([], [])


def test_the_wait_ends_when_the_others_do():
    """Until then it says who disturbs, and for how long it will wait at most."""
    listener, looks = Listener(), iter([BUSY, BUSY, CALM])

    wait_for_calm(listener, 300.0, look=lambda: next(looks), clock_s=seconds(2.0))

    assert listener.told == []
    assert listener.shown == [
        "waiting for a quiet machine, 298 s at most: other programs use 75 % of a core (cc1plus 70 %, beam.smp 5 %)",
        "waiting for a quiet machine, 296 s at most: other programs use 75 % of a core (cc1plus 70 %, beam.smp 5 %)",
    ]


def test_a_machine_that_is_never_calm_is_used_all_the_same():
    """After the limit the heat goes on, and says so."""
    listener = Listener()

    wait_for_calm(listener, 10.0, look=lambda: BUSY, clock_s=seconds(4.0))

    assert len(listener.shown) == 2
    (line,) = listener.told
    assert line.startswith("not quiet after 10 s: other programs use 75 % of a core")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steal_s": 1.0}, "the host takes 50 % of a core"),
        ({"free_memory_ratio": 0.04}, "only 4 % of the memory is free"),
        ({"device_processes": 1}, "1 process on a GPU"),
        ({"foreign_cpu_s": None, "steal_s": None, "free_memory_ratio": None, "device_processes": None}, ""),
    ],
)
def test_each_disturbance_has_its_words(change, text):
    """And what could not be seen is none."""
    fields = {name: getattr(CALM, name) for name in CALM.__slots__}

    assert Look(**{**fields, **change}).disturbance == text


def test_looking_around_takes_off_what_deadheat_itself_used(tmp_path: Path):
    """One second of the machine, of which 0.4 s are our own and 0.5 s a compiler's."""

    def write(total: int, own: int, compiler: int) -> None:
        (tmp_path / "stat").write_text(f"cpu  {total} 0 0 0 0 0 0 7 0 0\n")
        (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 250 kB\n")
        for pid, name, ticks in ((os.getpid(), "deadheat", own), (5, "cc1 plus", compiler)):
            (tmp_path / str(pid)).mkdir(exist_ok=True)
            fields = f"S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1"
            (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}\n")

    tick = round(1 / TICK_S)
    write(10 * tick, tick, tick)

    look = look_around(
        1.0, tmp_path, tmp_path, pause=lambda _: write(11 * tick, tick + 2 * tick // 5, tick + tick // 2)
    )

    assert look.foreign_cpu_s == pytest.approx(0.6)
    assert look.free_memory_ratio == 0.25
    assert look.busiest == (("cc1 plus", pytest.approx(0.5)),)
    assert look.disturbance == "other programs use 60 % of a core (cc1 plus 50 %)"
