"""Which sources observe a run: per quantity the best that this machine allows.

| quantity | first choice | then |
|---|---|---|
| CPU seconds | the run's group (`cgroup_v1`, else `cgroup_v2`): exact | `process_tree`: sampled |
| memory | the run's group: anonymous and shared | `process_tree`: sum of resident sets |
| CPU pressure, throttling | the run's group in the v2 tree | none |
| all of the machine and its devices | `machine`, `rapl`, `nvml` | none |
| proportional set size | `smaps_rollup`, at edges of phases that are off the train clock | none |

What could not be had says why in one reading of quality `unavailable`, so the readings themselves tell which sources
were used. CPU seconds and memory may come in different readings, from different sources.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.telemetry import Reading, Source
from collector.telemetry.cgroup import CgroupSource, RunGroup
from collector.telemetry.machine import PROCFS, SYSFS, MachineSource
from collector.telemetry.memory import PssSource
from collector.telemetry.nvml import NvmlSource
from collector.telemetry.process import ProcessTreeSource
from collector.telemetry.rapl import RaplSource

NOT_STARTED_HERE = RunGroup(reason="the process was not started by deadheat, so it has no group of its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTarget:
    """The run to observe.

    Parameters
    ----------
    pid
        The root of its process tree.
    group
        Its group, where it was started in one (`cgroup.run_group`); that of a process that runs already is empty.
    cores
        The cores that it is pinned to; none where that is not known.
    """

    pid: int
    group: RunGroup = NOT_STARTED_HERE
    cores: tuple[int, ...] = ()


def open_sources(run: RunTarget, procfs: Path = PROCFS) -> list[Source]:
    """Return the sources that observe `run`, those to be read first in front; close each of them.

    The same for a run that deadheat launches and for a process that is there already (`RunTarget(pid=…)`):

    >>> with run_group() as group:                                        # doctest: +SKIP
    ...     process = subprocess.Popen(group.enclose(["sleep", "1"]))
    ...     sources = open_sources(RunTarget(pid=process.pid, group=group))
    ...     readings = [reading for source in sources for reading in source.read()]
    """
    group = CgroupSource(run.group)
    sources: list[Source] = [group]
    if run.group.reason:
        sources.append(Unavailable("cgroup", run.group.reason))
    if group.has_memory:
        return [*sources, PssSource(run.group.read_pids, procfs)]
    tree = ProcessTreeSource(run.pid, procfs, with_cpu=not run.group.cpu_source)
    return [*sources, tree, PssSource(tree.read_pids, procfs)]


def open_all_sources(run: RunTarget, own: Collection[int], procfs: Path = PROCFS, sysfs: Path = SYSFS) -> list[Source]:
    """Return the sources of `run` and those of the machine and its devices, the slowest last.

    `own` are the process ids of the collector and its sampler.
    """
    *quick, pss = open_sources(run, procfs)
    machine = MachineSource(procfs, sysfs, own=own, cores=run.cores)
    return [*quick, machine, RaplSource(sysfs), NvmlSource(pids_of(run, procfs), procfs=procfs), pss]


def pids_of(run: RunTarget, procfs: Path = PROCFS) -> Callable[[], Collection[int]]:
    """Return what gives the processes of `run` that are alive when it is asked."""
    if run.group.folders:
        return run.group.read_pids
    return ProcessTreeSource(run.pid, procfs, with_cpu=False).read_pids


class Unavailable:
    """A source that could not be had: its only reading says why."""

    def __init__(self, source: str, reason: str) -> None:
        self._source, self._reason = source, reason

    def read(self, edge: str = "") -> Sequence[Reading]:
        """Return the reason, once."""
        reason, self._reason = self._reason, ""
        if not reason:
            return ()
        return (
            Reading(
                at_ns=time.monotonic_ns(),
                source=self._source,
                scope="run",
                quality="unavailable",
                edge=edge,
                reason=reason,
            ),
        )

    def close(self) -> None:
        """Nothing is held open."""
