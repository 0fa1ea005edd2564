"""The metrics of `measurements`: the only list of names, units and directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from store.records import PHASES


@dataclass(frozen=True)
class Metric:
    """What a named number is."""

    unit: str
    better: Literal["lower", "higher", "neither"]
    description: str


METRICS: dict[str, Metric] = {
    "train_clock_s": Metric("s", "lower", "sum of the synchronised training intervals, in mode infer of prediction"),
    "e2e_clock_s": Metric("s", "lower", "spawn until run_stop, everything included"),
    "time_to_first_step_s": Metric("s", "lower", "spawn until the end of the first training step"),
    "train_s_per_epoch": Metric("s", "lower", "train clock divided by the epochs trained"),
    "examples_per_s": Metric("1/s", "higher", "examples trained on per second of the train clock"),
    "is_steady": Metric("1", "higher", "1 if the chunks reached a speed that they kept to the end, else 0"),
    "steady_after_s": Metric("s", "lower", "train clock before the speed that was kept to the end; absent: never"),
    "steady_step_s": Metric("s", "lower", "median seconds per step at the speed that was kept to the end"),
    "data_wait_s": Metric("s", "lower", "seconds of the train clock in which training waited for its loader"),
    "limit_ratio": Metric(
        "1", "higher", "train_flops per second of the train clock, as a share of the machine's matrix-product rate"
    ),
    "published_window_s": Metric("s", "lower", "the phases that a study's published seconds cover, summed"),
    "infer_latency_p50_s": Metric("s", "lower", "median seconds of one synchronised forward pass"),
    "infer_latency_p95_s": Metric("s", "lower", "95th percentile of the seconds of one synchronised forward pass"),
    "infer_examples_per_s": Metric("1/s", "higher", "examples predicted per second without waiting after each pass"),
    "time_to_target_train_s": Metric("s", "lower", "train clock when the target accuracy was met"),
    "time_to_target_e2e_s": Metric("s", "lower", "e2e clock when the target accuracy was met"),
    "epochs_to_target": Metric("1", "lower", "epochs trained when the target accuracy was met"),
    "final_test_accuracy": Metric("1", "higher", "test accuracy of the last evaluation, as a fraction"),
    "cpu_s": Metric("s", "lower", "CPU seconds of the process tree over the whole run"),
    "cpu_cores_busy": Metric("1", "neither", "CPU seconds of the process tree per second of the run"),
    "memory_peak_bytes": Metric("B", "lower", "largest resident memory of the process tree that was read"),
    **{f"{name}_phase_s": Metric("s", "lower", f"seconds in phase {name}, all of its intervals") for name in PHASES},
}
