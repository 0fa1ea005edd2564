"""How a collection shows itself in the terminal: what runs, how it ended, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from collector.campaign.campaign import Campaign
from collector.plan.heat_order import Heat, Trial
from store.records import RunRow


class Estimate:
    """Expects a run to last as long as earlier ones of the same entry and cell did, else of the cell, else of any."""

    def __init__(self) -> None:
        self._durations_s: dict[tuple[str, ...], list[float]] = {}

    def add(self, trial: Trial, duration_s: float) -> None:
        """Learn that `trial` lasted `duration_s`."""
        for key in self._keys(trial):
            self._durations_s.setdefault(key, []).append(duration_s)

    def expected_s(self, trial: Trial) -> float | None:
        """Return how long `trial` should last; None before anything has run."""
        known = (self._durations_s.get(key) for key in self._keys(trial))
        return next((mean(durations) for durations in known if durations), None)

    def left_s(self, trials: Sequence[Trial]) -> float | None:
        """Return how long all of `trials` should last."""
        expected = [self.expected_s(trial) for trial in trials]
        return None if None in expected else sum(e for e in expected if e is not None)

    @staticmethod
    def _keys(trial: Trial) -> tuple[tuple[str, ...], ...]:
        return (trial.cell.key, str(trial.entry)), (trial.cell.key,), ()


class TerminalReporter:
    """Prints a line per run, with a bar below it where the terminal can show one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._estimate = Estimate()
        self._left: list[Trial] = []
        self._began_s = 0.0
        self._progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("runs"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> TerminalReporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, campaign: Campaign, due: Sequence[Heat]) -> None:
        """Say what is about to be run."""
        self._left = [trial for heat in due for trial in heat.trials]
        self.tell(
            f"campaign {campaign.campaign_id}: {len(due)} of {len(campaign.heats)} heats to run, {len(self._left)} runs"
        )
        for finished in list(self._progress.task_ids):
            self._progress.remove_task(finished)
        self._progress.add_task("", total=len(self._left))

    def repeat(self, heat: Heat) -> None:
        """Say that a heat is run again, and count its runs anew."""
        self.tell(f"{heat.name}: a run failed or was disturbed; the whole heat is run again")
        self._left = [*heat.trials, *self._left]
        task = self._progress.tasks[0]
        self._progress.update(task.id, total=(task.total or 0) + len(heat.trials))

    def show_waiting(self, text: str) -> None:
        """Show what is waited for beside the bar."""
        self._progress.update(self._progress.task_ids[0], description=text)

    def begin_run(self, heat: Heat, trial: Trial) -> None:
        """Show what runs now and how long is left."""
        self._began_s = time.monotonic()
        left_s = self._estimate.left_s(self._left)
        left = "estimating what is left" if left_s is None else f"about {_clock(left_s)} left"
        self._progress.update(self._progress.task_ids[0], description=f"{left} · {trial.entry} in {heat.name}")

    def end_run(self, heat: Heat, trial: Trial, run: RunRow) -> None:
        """Print how the run ended."""
        duration_s = time.monotonic() - self._began_s
        self._estimate.add(trial, duration_s)
        self._left = self._left[1:]
        self._progress.advance(self._progress.task_ids[0])
        left_s = self._estimate.left_s(self._left) or 0.0
        name = f"{trial.entry}{' (control)' if trial.control else ''}"
        self.tell(f"{heat.name}: {name}: {_outcome(run)}, {duration_s:.1f} s; about {_clock(left_s)} left")


def _outcome(run: RunRow) -> str:
    if run.status != "completed":
        return f"{run.status}: {run.message}"
    disturbed = f" (disturbed: {run.contamination})" if run.contaminated else ""
    return f"completed, train clock {run.train_clock_s:.2f} s{disturbed}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
