"""A runner that trains nothing, in exactly known times, and can fail in every way that the collector must survive."""

import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

MS = 1_000_000  # nanoseconds
PHASES_MS = {"import_stop": 1, "load_stop": 2, "preprocess_stop": 3, "build_stop": 4, "compile_stop": 5}
FIRST_STEP_MS, PAIR_MS, EVAL_MS, SHUTDOWN_MS = 1, 6, 2, 1
PASS_MS = 0.05  # a forward pass of mode infer, after the first
WAIT_S = 0.002  # for the loader, in each pair
PARAMETERS = {"mlp": 101770, "lenet5": 44426}


class Events:
    """Writes events on a clock that advances only when told."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: PTH123, SIM115 - lives as long as the run
        self._at_ns = time.monotonic_ns()

    def write(self, kind: str, after_ms: float = 0, **fields: object) -> None:
        self._at_ns += round(after_ms * MS)
        self._file.write(json.dumps({"kind": kind, "at_ns": self._at_ns, **fields}) + "\n")

    def write_raw(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def idx_length(path: str) -> int:
    with Path(path).open("rb") as file:
        return struct.unpack(">II", file.read(8))[1]


def set_up(events: Events, trial: dict, variant: str) -> None:
    ahead_s = 3600 if variant == "lying_start" else 0
    events.write("run_start", unix_ns=time.time_ns() + ahead_s * 1000 * MS, pid=os.getpid())
    for kind, duration_ms in PHASES_MS.items():
        if kind == "compile_stop" and trial["mode"] == "gate":
            return
        fields = {"parameters": PARAMETERS[trial["model"]]} if kind == "build_stop" else {}
        events.write(kind, duration_ms, **fields)


def epoch_pairs(trial: dict) -> list[tuple[float, int]]:
    """Return position and examples of every epoch pair."""
    if trial["mode"] != "train":
        pairs = [1.0, 2.0] if trial["mode"] == "infer" else [1.0]
        return [(epoch, trial["steps"] * trial["batch_size"]) for epoch in pairs]
    examples, parts = idx_length(trial["data.train_images"]), trial["evaluations_per_epoch"]
    batches = -(-examples // trial["batch_size"])
    cuts = [min(examples, batches * k // parts * trial["batch_size"]) for k in range(parts + 1)]
    sizes = [stop - start for start, stop in itertools.pairwise(cuts)]
    return [(e + (k + 1) / parts, sizes[k]) for e in range(trial["epochs"]) for k in range(parts)]


def train(events: Events, trial: dict, variant: str) -> None:
    pair_ms = PAIR_MS * (2 if variant == "slow" else 1)
    test_examples = 0 if variant == "zero_examples" else idx_length(trial["data.test_images"])
    for number, (epoch, examples) in enumerate(epoch_pairs(trial)):
        events.write("epoch_start", epoch=epoch)
        if number == 0:
            events.write("first_step_stop", FIRST_STEP_MS)
        trained = examples - (trial["batch_size"] if variant == "less_work" else 0)
        lying_ms = 10_000 if variant == "lying_clock" else 0
        remaining_ms = pair_ms - (FIRST_STEP_MS if number == 0 else 0) + lying_ms
        loss = 2.0 / (number + 1)
        if trial["mode"] == "infer" and number == 0:
            remaining_ms -= predict_one_by_one(events, trial["steps"])
        told = {} if trial["mode"] == "infer" or variant == "no_loss" else {"train_loss": loss}
        wait_s = WAIT_S if trial["loader"] == "stream" else 0.0
        events.write("epoch_stop", remaining_ms, epoch=epoch, examples=trained, data_wait_s=wait_s, **told)
        if trial["mode"] == "train" and variant != "no_evaluation":
            correct = int(test_examples * min(0.99, 0.90 + 0.01 * number))
            events.write("eval_start", epoch=epoch)
            events.write("eval_stop", EVAL_MS, epoch=epoch, examples=test_examples, correct=correct, loss=loss)
        misbehave_after_pair(events, variant, epoch)


def predict_one_by_one(events: Events, passes: int) -> float:
    """Write a chunk for each pass after the first step's millisecond; return how many milliseconds they took."""
    events.write("chunk_stop", steps=1)
    for number in range(2, passes + 1):
        events.write("chunk_stop", PASS_MS, steps=number)
    return PASS_MS * (passes - 1)


def misbehave_after_pair(events: Events, variant: str, epoch: float) -> None:
    if variant == "crash":
        sys.exit(3)
    if variant == "killed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if variant == "out_of_memory":
        raise MemoryError("the fake has used up all memory")
    if variant == "hang":
        subprocess.Popen(["sleep", "1000"]).wait()
    if variant == "diverge":
        events.write("diverged", epoch=epoch, message=f"train loss is not finite in epoch {epoch}")
        sys.exit(0)
    if variant == "half_line":
        events.write_raw('{"kind": "epoch_st')
        sys.exit(0)
    if variant == "nan":
        events.write("epoch_start", epoch=epoch)
        events.write_raw(f'{{"kind": "epoch_stop", "at_ns": {time.monotonic_ns()}, "epoch": 2.0, "examples": 1, ')
        events.write_raw('"train_loss": NaN, "data_wait_s": 0.0}\n')
        sys.exit(0)


def misbehave_before_training(events: Events, trial: dict, variant: str) -> None:
    if variant == "crash_once":
        marker = Path(trial["output"]).parent / "crashed_once"
        if not marker.exists():
            marker.touch()
            sys.exit(3)
    if variant == "unsupported":
        events.write("unsupported", message="the fake declines this trial")
        sys.exit(0)
    if variant == "unknown_kind":
        events.write("coffee_break")
        sys.exit(0)
    if variant == "out_of_order":
        events.write("eval_start", epoch=1.0)
        sys.exit(0)


def write_gate(trial: dict, variant: str) -> None:
    """Hand in the reference's own results, which lie beside the inputs; only `summed_loss` spoils them."""
    import numpy as np

    output = Path(trial["output"])
    expected = np.load(Path(trial["weights"]).parent / "expected.npz")
    sums = trial["batch_size"] if variant == "summed_loss" else 1
    targets = {"gradient": "b.gradient", "given": "c.weights", "step1": "d.weights1", "step2": "d.weights2"}
    for name in expected.files:
        prefix, _, parameter = name.partition(".")
        if prefix in targets:
            scale = sums if prefix == "gradient" else 1
            np.save(output / f"{targets[prefix]}.{parameter}.npy", expected[name] * scale)
    logits, labels = expected["test_logits"], expected["test_labels"]
    np.save(output / "a.losses.npy", expected["losses"] * sums)
    np.save(output / "a.logits.npy", expected["logits"])
    np.save(output / "f.logits.npy", logits)
    np.save(output / "f.loss.npy", expected["test_loss"])
    np.save(output / "f.correct.npy", np.array([float((logits.argmax(axis=1) == labels).sum())]))
    if "dropout.mean" in expected.files:
        drawn = np.random.default_rng(0).normal(size=(trial["gate.dropout_repeats"], len(expected["dropout.mean"])))
        drawn = (drawn - drawn.mean(axis=0)) / drawn.std(axis=0)
        np.save(output / "g.logits.npy", expected["dropout.mean"] + drawn * np.sqrt(expected["dropout.variance"]))
    if trial["loader"] == "stream":
        write_loaded(trial, output)


def write_loaded(trial: dict, output: Path) -> None:
    """Hand in the training set as the loader's epoch, back to front."""
    import numpy as np

    pixels = np.fromfile(trial["data.train_images"], dtype=np.uint8)[16:].reshape(-1, 1, 28, 28)[::-1]
    images = (pixels / np.float32(255) - np.float32(trial["data.mean"][0])) / np.float32(trial["data.std"][0])
    np.save(output / "l.images.npy", images.astype(np.float32))
    np.save(output / "l.labels.npy", np.fromfile(trial["data.train_labels"], dtype=np.uint8)[8:][::-1].astype(np.int32))


def run(trial_path: str, events_path: str) -> None:
    trial = json.loads(Path(trial_path).read_text(encoding="utf-8"))
    variant = trial["variant"]
    if variant == "silent" and trial["mode"] != "gate":
        return
    events = Events(events_path)
    set_up(events, trial, variant)
    if trial["mode"] == "gate" and variant == "declines_gate":
        events.write("unsupported", message="the fake lacks the device")
        return
    if trial["mode"] == "gate":
        write_gate(trial, variant)
    else:
        misbehave_before_training(events, trial, variant)
        train(events, trial, variant)
    events.write("run_stop", SHUTDOWN_MS, flushes_subnormals=False, threads=trial["threads"])


if __name__ == "__main__":
    if sys.argv[1:] == ["--describe"]:
        version = ".".join(map(str, sys.version_info[:3]))
        facts = {"language": "Python", "language_version": version, "framework": "fake", "framework_version": "1"}
        print(json.dumps({**facts, "devices": ["cpu"]}))
    else:
        run(*sys.argv[1:])
