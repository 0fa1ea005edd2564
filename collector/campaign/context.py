"""What a collection works with: the world as far as it can be replaced, what was found in it, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from collector.campaign.campaign import Campaign
from collector.datasets.files import DataFiles
from collector.machine.environment import probe_environment
from collector.machine.peak_flops import measure_limit
from collector.plan.heat_order import Heat, Trial
from collector.plan.runner import RUNNERS, Description
from collector.plan.workload import WORKLOADS
from collector.run.executor import Executor
from collector.telemetry.sampler import PERIOD_S
from store.records import EnvironmentRow, RunRow

Tables = Mapping[str, Mapping[str, str]]  # by runner


class Reporter(Protocol):
    """Who is told how the collection goes on."""

    def tell(self, text: str) -> None:
        """Say one line."""
        ...

    def begin(self, campaign: Campaign, due: Sequence[Heat]) -> None:
        """Say which heats of the campaign are to be run."""
        ...

    def repeat(self, heat: Heat) -> None:
        """Say that a heat is run again."""
        ...

    def show_waiting(self, text: str) -> None:
        """Show, until a run begins, what is waited for."""
        ...

    def begin_run(self, heat: Heat, trial: Trial) -> None:
        """Say that a run begins."""
        ...

    def end_run(self, heat: Heat, trial: Trial, run: RunRow) -> None:
        """Say how a run ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where definitions and data are found and how runs are executed: the world, as far as it can be replaced."""

    executor: Executor
    data: Callable[[str], DataFiles]  # data set name -> its verified files
    environment: Callable[[Tables, Tables], EnvironmentRow] = probe_environment  # versions, environments -> row
    before_heat: Callable[[Reporter], None] = lambda _: None  # returns when the next heat may begin
    limit: Callable[[str, int, Sequence[int]], float | None] = measure_limit  # device, threads, cores -> FLOP/s
    period_s: float = PERIOD_S  # between two readings of a run
    workloads: Path = WORKLOADS
    runners: Path = RUNNERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What probing found: the environment and what each runner says of itself."""

    environment: EnvironmentRow
    descriptions: Mapping[str, Description]
    unavailable: Mapping[str, str]  # runner -> why
