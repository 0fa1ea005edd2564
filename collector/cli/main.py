"""The commands that run the matrix: setup, data, plan, run, gate."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from collector.campaign import collect as collection
from collector.campaign.collect import Summary, collect, gate_cells, probe_machine
from collector.campaign.context import Setting
from collector.cli.data_commands import data_app
from collector.cli.doctor_commands import doctor_app
from collector.cli.gate_matrix import gate_matrix, gate_notes, gate_table
from collector.cli.import_commands import import_app
from collector.cli.monitor_commands import monitor_app
from collector.cli.progress import TerminalReporter
from collector.cli.runner_commands import roster_app
from collector.cli.selection import Choice, choose_suite, refusal_lines, with_choice
from collector.datasets.dataset import probe_dataset, read_dataset
from collector.datasets.files import DataFiles
from collector.machine.host_lock import host_lock, lock_path
from collector.machine.idle import DEFAULT_LIMIT_S, wait_for_calm
from collector.plan.heat_order import Heat, plan_heats
from collector.plan.matrix import MatrixError, expand_matrix
from collector.plan.roster import describe_lines
from collector.run.launch import InterruptedCollectionError
from collector.run.local_executor import LocalExecutor
from collector.toolchains.mix import setup_packages
from collector.toolchains.toolchain import known_languages, setup_toolchains
from store.commands import DEFAULT_STORE, StorePath
from store.database import Store

app = typer.Typer()
app.add_typer(data_app, name="data")
app.add_typer(doctor_app)
app.add_typer(import_app, name="import")
app.add_typer(monitor_app)
app.add_typer(roster_app)

PROJECT = Path(__file__).parent.parent.parent
RunnerNames = Annotated[str, typer.Option("--runner", help="Runners, separated by commas.")]
WorkloadNames = Annotated[str, typer.Option("--workload", help="Workloads, separated by commas.")]


@app.command()
def setup(
    language: Annotated[str | None, typer.Argument(help="julia, elixir or cpp; all when not given.")] = None,
) -> None:
    """Get the toolchains of Julia and Elixir and build the C++ runner without touching the system's packages.

    `deadheat setup elixir` also gets the packages of the runners in Elixir that have some: hundreds of megabytes.

    Example: deadheat setup julia
    """
    console = Console()
    results = setup_toolchains([language] if language else known_languages(), root=PROJECT, console=console)
    if language == "elixir":
        results += setup_packages(root=PROJECT, console=console)
    for result in results:
        console.print(f"{result.language}: {result.state}: {result.message}", highlight=False, markup=False)
    for line in describe_lines(language) if language else []:
        console.print(line, highlight=False, markup=False)
    if language and any(result.state != "ready" for result in results):
        raise typer.Exit(1)


@app.command()
@with_choice
def plan(choice: Choice) -> None:
    """Show the heats of a suite in the order in which they would be run.

    Example: deadheat plan demo
    """
    chosen = choose_suite(choice)
    matrix = expand_matrix(chosen)
    planned = plan_heats(chosen, matrix.cells)
    console = Console()
    console.print(f"{chosen.name}: {chosen.description}", highlight=False, markup=False)
    console.print(heats_table(planned))
    for line in refusal_lines([refusal.reason for refusal in matrix.refusals]):
        console.print(line, highlight=False, markup=False)
    runs = sum(len(heat.trials) for heat in planned)
    console.print(f"{len(planned)} heats, {runs} runs, seed {chosen.seed}; * is the A/A control", highlight=False)


@app.command()
@with_choice
def run(
    choice: Choice,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Do nothing if this environment has measured the suite.")
    ] = False,
    quiet_machine: Annotated[
        bool, typer.Option("--quiet-machine", help="Before each heat, wait until nothing else is at work here.")
    ] = False,
    quiet_limit: Annotated[
        float, typer.Option(min=0, help="Seconds that --quiet-machine waits before each heat at most.")
    ] = DEFAULT_LIMIT_S,
    rate: Annotated[float, typer.Option(min=10, max=100, help="Readings of a run's CPU and memory per second.")] = 10,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Run a suite: gate, then heat after heat. Interrupted, the same command goes on where it stopped.

    Example: deadheat run demo

    Example: deadheat run --runner python_pytorch,python_jax --workload mnist_lenet --batch-size 32,128 --heats 6
    """
    chosen = choose_suite(choice)
    console = Console()
    purpose = f"deadheat run {chosen.name}"
    with _one_interruption(), host_lock(lock_path(), purpose), TerminalReporter(console) as report:
        setting = replace(machine_setting(quiet_limit if quiet_machine else None), period_s=1 / rate)
        summary = collect(chosen, Store(store.resolve()), setting, report, once=once)
    for line in summary_lines(summary, store):
        console.print(line, highlight=False, markup=False)
    raise typer.Exit(1 if summary.failed or summary.refused else 0)


@app.command()
def gate(
    runner: RunnerNames = "",
    workload: WorkloadNames = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every runner on every workload it supports.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Prove that runners do the same work as the float64 reference; nothing is timed.

    Example: deadheat gate --runner python_pytorch --workload mnist_mlp
    """
    if not (everything or runner or workload):
        raise MatrixError(
            "gate: nothing was chosen; expected --all, or --runner and --workload. See deadheat gate --help."
        )
    cells = gate_matrix(runner, workload, device=device)
    setting, records, console = machine_setting(), Store(store.resolve()), Console()
    collection.require_usable(records)
    with _one_interruption(), host_lock(lock_path(), "deadheat gate"), TerminalReporter(console) as report:
        machine = probe_machine(cells, setting)
        results = gate_cells(cells, machine, records, setting, report)
    for reason in machine.unavailable.values():
        console.print(f"unavailable: {reason}", highlight=False, markup=False)
    console.print(gate_table(list(results.values())))
    for note in gate_notes(list(results.values())):
        console.print(note, highlight=False, markup=False)
    raise typer.Exit(1 if any(result.failure for result in results.values()) else 0)


@contextlib.contextmanager
def _one_interruption() -> Iterator[None]:
    """Make Ctrl-C between two runs the same ending as Ctrl-C during one, and a request to end the same as Ctrl-C.

    SIGTERM comes of `timeout`, of systemd and of time limits, SIGHUP of a closed connection; under `nohup` it stays
    ignored.
    """
    asked = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, signal.default_int_handler) for one in asked}
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedCollectionError from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def machine_setting(quiet_limit_s: float | None = None) -> Setting:
    """Return the setting of this machine: local execution, data sets from the cache.

    With `quiet_limit_s` each heat waits as long at most for a quiet machine.
    """
    setting = Setting(executor=LocalExecutor(), data=verified_data)
    if quiet_limit_s is None:
        return setting
    return replace(setting, before_heat=partial(wait_for_calm, limit_s=quiet_limit_s))


@cache
def verified_data(name: str) -> DataFiles:
    """Return the files of a data set in the cache; raise where they are missing or damaged."""
    return probe_dataset(read_dataset(name))


def heats_table(heats: Sequence[Heat]) -> Table:
    """Return the heats as a table: order, cell and who runs when."""
    table = Table("#", "heat", "order")
    for number, heat in enumerate(heats, start=1):
        variants = Counter(entry.runner for entry in heat.cell.entries)
        names = [str(t.entry) if variants[t.entry.runner] > 1 else t.entry.runner for t in heat.trials]
        order = " → ".join(f"{n}{'*' if t.control else ''}" for n, t in zip(names, heat.trials, strict=True))
        table.add_row(str(number), heat.name.replace("[", r"\["), order)
    return table


def summary_lines(summary: Summary, store: Path) -> list[str]:
    """Return what a person wants to know when a collection has ended."""
    if summary.already_finished:
        return [f"{summary.campaign_id}: already measured in this environment; nothing to do (--once)."]
    declined = set(summary.unsupported)
    lines = [f"left out: {key}: {reason}" for key, reason in summary.left_out.items() if reason not in declined]
    lines += refusal_lines(summary.unsupported)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(summary.statuses).items()))
    lines.append(f"{summary.campaign_id}: {counts or 'nothing was left to run'}. Records: {store}")
    lines.append("Next: deadheat report, or deadheat site.")
    return lines
