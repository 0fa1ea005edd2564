"""What is left is told while a campaign runs, and a heat that is run again counts anew."""

from __future__ import annotations

import io
import re

from rich.console import Console

from collector.campaign.campaign import new_campaign
from collector.cli.progress import TerminalReporter
from collector.plan.heat_order import plan_heats
from collector.plan.matrix import Group, Suite, expand_suite
from store.records import RunRow
from tests.store.rows import row


def test_a_heat_that_is_run_again_is_left_to_do_again(monkeypatch):
    """Two runs of 4 s each have ended, then both are due once more."""
    group = Group(workloads=["mnist_mlp"], runners=["fake"], baseline="fake", heats=1)
    suite = Suite(name="some", description="", seed=1, group=[group])
    (heat,) = plan_heats(suite, expand_suite(suite))
    clock_s = iter(range(0, 1000, 4))
    monkeypatch.setattr("collector.cli.progress.time.monotonic", lambda: next(clock_s))
    output = io.StringIO()
    reporter = TerminalReporter(Console(file=output, width=200))

    reporter.begin(new_campaign(suite, "environment1", [heat], 1), [heat])
    for _ in range(2):
        for trial in heat.trials:
            reporter.begin_run(heat, trial)
            reporter.end_run(heat, trial, row(RunRow, status="completed", train_clock_s=1.0))
        reporter.repeat(heat)

    left = re.findall(r"about 0:00:(\d\d) left", output.getvalue())
    assert len(heat.trials) == 2
    assert left == ["04", "00", "04", "00"]
    assert output.getvalue().count("the whole heat is run again") == 2
