"""What else was at work while a run was measured: how much of it, and where it counts as a disturbance (pure).

A window is judged by what the kernel and the devices counted meanwhile. What the run itself used, and what the
collector and its sampler used, is no disturbance. Nothing looks at the times that the run reached.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from collector.telemetry import Reading
from store.records import EpochRow, PhaseRow, RunRow

MIN_WINDOW_S = 2.0  # a shorter window has too few ticks of 10 ms to tell a disturbance from rounding
EDGE_S = 0.3  # how much of a window's ends may lie outside the readings: three periods of the slowest schedule
FOREIGN_CPU_RATIO = 0.05  # of the run's cores; the services of an idle virtual machine were seen to use 1 % of one
ELSEWHERE_RATIO = 0.25  # on other cores, against the run's: they share caches, memory and the package's clock with it
STEAL_RATIO = 0.03
MIN_CPU_S = 0.25  # the kernel counts in ticks of 10 ms: in runs of 4 s up to 0.13 s were seen where nobody was
PRESSURE_RATIO = 0.10  # of the window; the collector's own short waits beside a run on every core stay below
QUOTA_RATIO = 0.01  # of the window
CLOCK_CHANGE_RATIO = 0.15  # from the middle of the run's own training intervals, which all do the same work
LOW_MEMORY_RATIO = 0.05  # of all memory
SWAPPED_BYTES = 2**20  # less is a few pages of a program that sleeps
SLOWED_RATIO = 0.01  # of the readings of a device
# `sw_power_cap` is not among them: a load that reaches the board's power limit does so by itself.
SLOWING = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")


def judged(
    run: RunRow, phases: Sequence[PhaseRow], epochs: Sequence[EpochRow], readings: Sequence[Reading], spawned_ns: int
) -> tuple[RunRow, list[EpochRow]]:
    """Return the run and its epochs with what disturbed them.

    The run is judged as a whole and once more over its training, which may be a small part of it. Each epoch
    interval is judged by its training alone. None: the window is too short, or nobody counted.
    """
    training = [(row.start_s, row.start_s + row.duration_s) for row in phases if row.phase == "train"]
    account = _Account(readings, spawned_ns, run, training)
    whole = account.judge(0.0, next((row.start_s for row in phases if row.phase == "shutdown"), 0.0))
    trained = account.judge(training[0][0], training[-1][1]) if training else _UNKNOWN
    texts = dict(whole.texts)
    texts |= {kind: f"training: {text}" for kind, text in trained.texts.items() if kind not in whole.texts}
    contaminated = True if texts else False if whole.is_observed else None
    return (
        replace(
            run, contaminated=contaminated, contamination=None if contaminated is None else "; ".join(texts.values())
        ),
        [replace(row, contamination=account.judge(*window).text) for row, window in zip(epochs, training, strict=True)],
    )


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What disturbed one window, by kind; observed: whether others could be told from the run at all."""

    texts: dict[str, str]
    is_observed: bool

    @property
    def text(self) -> str | None:
        return "; ".join(self.texts.values()) if self.texts or self.is_observed else None


_UNKNOWN = _Judgement({}, is_observed=False)


class _Curve:
    """A running total over time, straight lines between readings."""

    def __init__(self, at_s: Sequence[float], values: Sequence[float]) -> None:
        self._at_s, self._values = np.array(at_s), np.array(values)

    def grown(self, start_s: float, stop_s: float) -> float | None:
        """Return by how much it grew; None where the readings do not reach from one end to the other."""
        if len(self._at_s) < 2 or self._at_s[0] > start_s + EDGE_S or self._at_s[-1] < stop_s - EDGE_S:
            return None
        low, high = np.interp([start_s, stop_s], self._at_s, self._values)
        return float(high - low)


class _Account:
    """The readings of a run, as far as they tell what others did."""

    def __init__(
        self, readings: Sequence[Reading], spawned_ns: int, run: RunRow, training: Sequence[tuple[float, float]]
    ) -> None:
        self._placed = [((r.at_ns - spawned_ns) / 1e9, r) for r in sorted(readings, key=lambda r: r.at_ns)]
        self._series: dict[tuple[str, int | None], list[tuple[float, Reading]]] = {}
        for at_s, reading in self._placed:
            self._series.setdefault((reading.scope, reading.device_index), []).append((at_s, reading))
        self._threads, self._on_devices = run.threads, run.device != "cpu"
        self._training = training
        self._cpu_s = {scope: self._curve(scope, "cpu_s") for scope in ("machine", "run", "collector")}
        self._run_cores_cpu_s = self._curve("machine", "run_cores_cpu_s")
        self._pressure_s = {scope: self._curve(scope, "cpu_pressure_s") for scope in ("machine", "run")}
        self._steal_s = self._curve("machine", "steal_s")
        self._swapped_bytes = self._curve("machine", "swapped_bytes")
        self._throttled_s = self._curve("run", "throttled_s")
        middles = {index: self._middle_clock_hz(index) for index in (None, *self._device_indices())}
        self._middle_clocks_hz = {index: hz for index, hz in middles.items() if hz}

    def judge(self, start_s: float, stop_s: float) -> _Judgement:
        if stop_s - start_s < MIN_WINDOW_S:
            return _UNKNOWN
        rules: dict[str, Callable[[float, float], str]] = {
            "foreign": self._foreign,
            "pressure": self._pressure,
            "steal": self._steal,
            "quota": self._quota,
            "clock": self._clocks,
            "governor": self._governor,
            "devices": self._devices,
            "memory": self._memory,
            "swap": self._swap,
        }
        texts = {kind: text for kind, rule in rules.items() if (text := rule(start_s, stop_s))}
        return _Judgement(texts, is_observed=self._foreign_cpu_s(start_s, stop_s) is not None)

    def _foreign_cpu_s(self, start_s: float, stop_s: float) -> float | None:
        machine, run, own = (self._cpu_s[scope].grown(start_s, stop_s) for scope in ("machine", "run", "collector"))
        return None if machine is None or run is None or own is None else machine - run - own

    def _foreign(self, start_s: float, stop_s: float) -> str:
        """Return what others used: on the run's own cores where these can be told apart, else anywhere."""
        used_s, given_s = self._foreign_cpu_s(start_s, stop_s), (stop_s - start_s) * self._threads
        cores_s, run_s = (curve.grown(start_s, stop_s) for curve in (self._run_cores_cpu_s, self._cpu_s["run"]))
        if cores_s is None or run_s is None:
            return _share("other programs used {} CPU s", used_s, given_s, FOREIGN_CPU_RATIO, MIN_CPU_S)
        text = "other programs used {} CPU s on the cores of the run,"
        here = _share(text, cores_s - run_s, given_s, FOREIGN_CPU_RATIO, MIN_CPU_S)
        return here or _share("other programs used {} CPU s", used_s, given_s, ELSEWHERE_RATIO, MIN_CPU_S)

    def _steal(self, start_s: float, stop_s: float) -> str:
        stolen_s, given_s = self._steal_s.grown(start_s, stop_s), (stop_s - start_s) * self._threads
        return _share("the host took {} CPU s", stolen_s, given_s, STEAL_RATIO, MIN_CPU_S)

    def _pressure(self, start_s: float, stop_s: float) -> str:
        machine, run = (self._pressure_s[scope].grown(start_s, stop_s) for scope in ("machine", "run"))
        beyond_s = None if machine is None or run is None else machine - run
        return _share("other programs waited for a CPU in {} s", beyond_s, stop_s - start_s, PRESSURE_RATIO, MIN_CPU_S)

    def _quota(self, start_s: float, stop_s: float) -> str:
        held_s = self._throttled_s.grown(start_s, stop_s)
        return _share("a CPU quota held the run back for {} s", held_s, stop_s - start_s, QUOTA_RATIO)

    def _swap(self, start_s: float, stop_s: float) -> str:
        swapped = self._swapped_bytes.grown(start_s, stop_s) or 0.0
        return f"{swapped / 1e6:.0f} MB were swapped out" if swapped > SWAPPED_BYTES else ""

    def _memory(self, start_s: float, stop_s: float) -> str:
        known = [
            (reading.available_memory_bytes, reading.available_memory_bytes + reading.memory_bytes)
            for reading in self._within(start_s, stop_s, "machine")
            if reading.available_memory_bytes is not None and reading.memory_bytes is not None
        ]
        free, total = min(known, default=(1, 1))
        low = free < LOW_MEMORY_RATIO * total
        return f"only {free / 1e9:.1f} GB of {total / 1e9:.1f} GB of memory were free" if low else ""

    def _governor(self, start_s: float, stop_s: float) -> str:
        seen = [(at_s, reading.governor) for at_s, reading in self._placed if reading.governor is not None]
        before = [governor for at_s, governor in seen if at_s <= start_s][-1:]
        meanwhile = [governor for at_s, governor in seen if start_s < at_s <= stop_s]
        kinds = list(dict.fromkeys([*before, *meanwhile]))
        return f"the governor changed: {' → '.join(kinds)}" if len(kinds) > 1 else ""

    def _clocks(self, start_s: float, stop_s: float) -> str:
        """Return the farthest clock of the training intervals in the window, if it is far from the others."""
        inside = [window for window in self._training if start_s <= window[0] and window[1] <= stop_s]
        worst_ratio, text = CLOCK_CHANGE_RATIO, ""
        for index, middle_hz in self._middle_clocks_hz.items():
            for hz in (self._mean_clock_hz(window, index) for window in inside):
                if hz and abs(hz / middle_hz - 1) > worst_ratio:
                    worst_ratio = abs(hz / middle_hz - 1)
                    whose = "the CPU's clock" if index is None else f"the clock of device {index}"
                    text = f"{whose} was {hz / 1e9:.2f} GHz, in the run's other intervals {middle_hz / 1e9:.2f} GHz"
        return text

    def _middle_clock_hz(self, device_index: int | None) -> float | None:
        """Return the clock of the run's usual training interval."""
        known = [hz for window in self._training if (hz := self._mean_clock_hz(window, device_index))]
        return statistics.median(known) if known else None

    def _mean_clock_hz(self, window: tuple[float, float], device_index: int | None) -> float | None:
        scope = "machine" if device_index is None else "device"
        known = [r.clock_hz for r in self._within(*window, scope, device_index) if r.clock_hz is not None]
        return statistics.fmean(known) if len(known) >= 3 else None

    def _devices(self, start_s: float, stop_s: float) -> str:
        texts = (
            text
            for index in self._device_indices()
            for text in _device_disturbances(index, self._within(start_s, stop_s, "device", index))
        )
        return "; ".join(texts)

    def _device_indices(self) -> list[int]:
        """Return the devices that matter: none for a run on the CPU, none on which the run is known to have nothing."""
        known: dict[int, bool] = {}
        for _, reading in self._placed:
            if reading.device_index is not None and self._on_devices:
                is_used = reading.run_memory_bytes is None or reading.run_memory_bytes > 0
                known[reading.device_index] = known.get(reading.device_index, False) or is_used
        return [index for index, is_used in known.items() if is_used]

    def _within(self, start_s: float, stop_s: float, scope: str, device_index: int | None = None) -> list[Reading]:
        series = self._series.get((scope, device_index), [])
        first, last = (bisect.bisect_left(series, at_s, key=itemgetter(0)) for at_s in (start_s, stop_s))
        return [reading for _, reading in series[first:last]]

    def _curve(self, scope: str, field: str) -> _Curve:
        """Return a running total; where several sources give it, of the exact one."""
        known = [
            (reading.quality != "exact", reading.source, at_s, value)
            for at_s, reading in self._placed
            if reading.scope == scope and (value := getattr(reading, field)) is not None
        ]
        best = min((place[:2] for place in known), default=None)
        chosen = [place for place in known if place[:2] == best]
        return _Curve([at_s for *_, at_s, _ in chosen], [value for *_, value in chosen])


def _device_disturbances(index: int, readings: Sequence[Reading]) -> Iterator[str]:
    """Yield what disturbed one device."""
    if others := max((reading.foreign_processes or 0 for reading in readings), default=0):
        yield f"{others} other {'process' if others == 1 else 'processes'} on device {index}"
    told = [(reading.throttle_reasons or "").split(",") for reading in readings if reading.quality != "unavailable"]
    slowed = [set(reasons) & set(SLOWING) for reasons in told]
    count = sum(map(bool, slowed))
    if count and count >= SLOWED_RATIO * len(told):
        names = ", ".join(sorted({name for names in slowed for name in names}))
        yield f"device {index} slowed down ({names}) in {count} of {len(told)} readings"


def _share(text: str, amount_s: float | None, of_s: float, ratio: float, at_least_s: float = 0.0) -> str:
    """Return `text` with the amount and its share, or nothing where it is below the threshold or not known."""
    if amount_s is None or amount_s <= max(ratio * of_s, at_least_s):
        return ""
    return f"{text.format(f'{amount_s:.1f}')} of {of_s:.1f} s ({100 * amount_s / of_s:.0f} %)"
