"""The doctor names what is wrong with a machine, sets what it allows, and puts it back."""

from __future__ import annotations

import json
from pathlib import Path

import pynvml
import pytest
from typer.testing import CliRunner

from collector.cli import doctor_commands
from collector.cli.main import app
from collector.machine.doctor import Fact, Place, examine
from collector.machine.idle import Look
from collector.machine.tuning import TuningError, list_knobs, restore, tune
from tests.collector.telemetry.nvml_double import Device, NvmlDouble

CALM = Look(window_s=1.0, foreign_cpu_s=0.01, steal_s=0.0, free_memory_ratio=0.9, device_processes=None)
BUSY = Look(window_s=1.0, foreign_cpu_s=0.9, steal_s=0.0, free_memory_ratio=0.9, device_processes=None)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return the root of a laptop's procfs and sysfs as it comes: powersave, turbo, ASLR, some swap in use."""
    files = {
        "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1200000",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "0",
        "sys/devices/system/cpu/smt/active": "1",
        "sys/devices/system/cpu/isolated": "",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        "sys/class/powercap/intel-rapl:0/name": "package-0",
        "sys/class/powercap/intel-rapl:0/energy_uj": "5000000",
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "9000000",
        "proc/sys/kernel/randomize_va_space": "2",
        "proc/stat": "cpu  100 0 0 0 0 0 0 7 0 0",
        "proc/loadavg": "0.25 0.20 0.10 1/100 99",
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 900000 kB\nSwapTotal: 2000000 kB\nSwapFree: 1500000 kB",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    return tmp_path


def facts_of(machine: Path, look: Look = CALM) -> dict[str, Fact]:
    place = Place(
        procfs=machine / "proc",
        sysfs=machine / "sys",
        cgroups=machine / "cgroup",
        folder=machine,
        look=lambda: look,
    )
    return {fact.name: fact for fact in examine(place)}


def test_what_is_wrong_with_a_laptop_is_found(machine):
    """Each finding says what to do."""
    facts = facts_of(machine, BUSY)

    wrong = {name for name, fact in facts.items() if fact.finding and fact.topic not in ("toolchain", "disk")}
    assert wrong == {"governor of policy0", "turbo is off", "free memory", "swap in use", "other programs"}
    assert facts["governor of policy0"].finding.endswith("deadheat doctor --tune sets it to performance")
    assert facts["other programs"].finding.startswith("other programs use 90 % of a core")
    assert facts["swap in use"].value == "0.5 GB"
    assert (facts["SMT"].value, facts["isolated cores"].value, facts["load over a minute"].value) == (
        "1",
        "none",
        "0.25",
    )


def test_a_tuned_and_quiet_machine_has_no_finding_in_its_processor(machine):
    """After --tune nothing of it is left."""
    list(tune(list_knobs(machine / "proc", machine / "sys", NvmlDouble()), machine / "tuned.json"))

    facts = facts_of(machine)
    assert [fact.name for fact in facts.values() if fact.finding and fact.topic in ("processor", "others")] == []


def test_sources_that_cannot_be_had_say_why(machine):
    """No group and no device: the process tree, the machine and its energy remain."""
    facts = facts_of(machine)

    assert facts["process_tree (run)"].topic == "telemetry"
    assert facts["machine (machine)"].value.startswith("exact; cpu_s")
    assert facts["nvml (device)"].value.startswith("unavailable; ")
    assert "NVIDIA driver" in facts["nvml (device)"].value
    assert facts["rapl (machine)"].value == "exact; energy_j"  # of this root, whatever the machine has


def test_tuning_is_written_down_first_and_put_back(machine):
    """Everything that was, is again; the record goes."""
    device, record = Device(), machine / "cache" / "tuned.json"
    roots = (machine / "proc", machine / "sys", NvmlDouble(device))
    governor = machine / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"

    done = list(tune(list_knobs(*roots), record))

    assert all(was_done for was_done, _ in done)
    assert (True, "governor of policy0: powersave → performance") in done
    assert governor.read_text() == "performance"
    assert (device.persistence, device.locked) == (1, (1980, 1980))
    assert json.loads(record.read_text())["governor of policy0"] == "powersave"

    done = list(restore(list_knobs(*roots), record))

    assert all(was_done for was_done, _ in done)
    assert governor.read_text() == "powersave"
    assert (machine / "proc/sys/kernel/randomize_va_space").read_text() == "2"
    assert (device.persistence, device.locked) == (0, None)
    assert not record.exists()


def test_tuning_twice_does_not_forget_what_it_was(machine):
    """The first record is the older one."""
    record = machine / "tuned.json"
    for _ in range(2):
        list(tune(list_knobs(machine / "proc", machine / "sys", NvmlDouble()), record))

    assert json.loads(record.read_text())["turbo is off"] == "0"


def test_what_is_not_allowed_stays_and_is_said(machine):
    """The rest is set all the same."""
    refused = {"persistence": pynvml.NVML_ERROR_NO_PERMISSION, "locked": pynvml.NVML_ERROR_NOT_SUPPORTED}
    knobs = list_knobs(machine / "proc", machine / "sys", NvmlDouble(Device(refused=refused)))

    done = {text: was_done for was_done, text in tune(knobs, machine / "tuned.json")}

    assert done["persistence of device 0: stays off: NVML: Insufficient Permissions"] is False
    assert done["clocks of device 0: stays not locked: NVML: Not Supported"] is False
    assert done["turbo is off: 0 → 1"] is True


def test_a_setting_that_is_gone_keeps_the_record(machine):
    """A device that was taken out: the rest is put back, and what is left is still known."""
    record = machine / "tuned.json"
    list(tune(list_knobs(machine / "proc", machine / "sys", NvmlDouble(Device())), record))

    done = list(restore(list_knobs(machine / "proc", machine / "sys", NvmlDouble()), record))

    assert (False, "persistence of device 0: is not on this machine; it was off") in done
    assert set(json.loads(record.read_text())) == {"persistence of device 0", "clocks of device 0"}


def test_without_a_record_nothing_is_put_back(machine):
    """The message says what was expected and what else helps."""
    with pytest.raises(TuningError, match=r"tuned.json: cannot be read .*restart"):
        list(restore([], machine / "tuned.json"))


def test_the_command_answers_for_this_machine():
    """As JSON, with the exit code of its findings."""
    answer = CliRunner().invoke(app, ["doctor", "--format", "json"])

    facts = json.loads(answer.output)
    assert {"telemetry", "memory", "disk", "others", "toolchain"} <= {fact["topic"] for fact in facts}
    assert answer.exit_code == int(any(fact["finding"] for fact in facts))


def test_the_command_tunes_and_restores(machine, monkeypatch):
    """What was done is told, and where it is written down; without a record nothing can be put back."""
    knobs = list_knobs(machine / "proc", machine / "sys", NvmlDouble())
    monkeypatch.setattr(doctor_commands, "list_knobs", lambda: knobs)
    monkeypatch.setenv("DEADHEAT_TUNED", str(machine / "tuned.json"))
    runner = CliRunner()

    tuned, restored, again = [runner.invoke(app, ["doctor", f"--{what}"]) for what in ("tune", "restore", "restore")]

    assert (tuned.exit_code, restored.exit_code) == (0, 0)
    assert "governor of policy0: powersave → performance" in tuned.output
    assert f"what it was: {machine / 'tuned.json'}; deadheat doctor --restore puts it back" in tuned.output
    assert "governor of policy0: performance → powersave" in restored.output
    assert isinstance(again.exception, TuningError)


def test_a_setting_that_may_not_be_changed_is_the_exit_code(machine, monkeypatch):
    """The rest is set; both options at once are refused."""
    device = Device(refused={"locked": pynvml.NVML_ERROR_NO_PERMISSION})
    knobs = list_knobs(machine / "proc", machine / "sys", NvmlDouble(device))
    monkeypatch.setattr(doctor_commands, "list_knobs", lambda: knobs)
    monkeypatch.setenv("DEADHEAT_TUNED", str(machine / "tuned.json"))

    refused = CliRunner().invoke(app, ["doctor", "--tune"])
    both = CliRunner().invoke(app, ["doctor", "--tune", "--restore"])

    assert (refused.exit_code, both.exit_code) == (1, 2)
    assert "clocks of device 0: stays not locked: NVML: Insufficient Permissions" in refused.output
    assert "give --tune or --restore, not both" in both.output
