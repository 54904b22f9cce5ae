"""Whose CPU is counted: children that live, children that have ended, and what others did."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.cpu import MachineTime, Sample, machine_time, others_share, sample

BURN_S = 0.3
BURNER = f"import time\nwhile time.process_time() < {BURN_S}: pass"
PARENT = f"""
import subprocess, sys
for line in sys.stdin:
    subprocess.run([sys.executable, "-c", {BURNER!r}], check=True)
    print("burnt", flush=True)
"""


def test_a_child_that_burnt_cpu_and_ended_is_counted_to_its_own_party() -> None:
    command = [sys.executable, "-c", PARENT]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as busy,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as idle,
    ):
        assert busy.stdin is not None
        assert busy.stdout is not None
        assert idle.stdin is not None
        parties = {"busy": [busy.pid], "idle": [idle.pid], "both": [busy.pid, idle.pid]}
        busy.stdin.write("\n")
        busy.stdin.flush()
        assert busy.stdout.readline() == "burnt\n"  # both are up, and the first child has ended
        before = sample(parties)
        busy.stdin.write("\n")
        busy.stdin.flush()
        assert busy.stdout.readline() == "burnt\n"
        spent = sample(parties).since(before)
        busy.stdin.close()
        idle.stdin.close()
    assert spent["busy"] >= BURN_S * 0.9
    assert spent["both"] >= BURN_S * 0.9
    assert spent["idle"] < BURN_S * 0.9


def test_a_child_that_is_still_at_it_is_counted() -> None:
    script = f"{BURNER}\nprint('burnt', flush=True)\ninput()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}], check=True)"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "burnt\n"
        seen = sample({"party": [process.pid]}).parties["party"]
        process.stdin.write("\n")
        process.stdin.close()
    assert seen >= BURN_S * 0.9


def test_a_party_without_processes_has_no_figure() -> None:
    assert sample({"nobody": []}).parties == {}


def test_the_machines_time_only_rises() -> None:
    first = machine_time()
    assert first is not None
    second = machine_time()
    assert second is not None
    assert second.busy >= first.busy > 0


@pytest.mark.parametrize(
    ("busy", "stolen", "clients_s", "expected"),
    [
        (3.0, 0.0, 1.0, 0.0),  # database 2 + clients 1: all of it ours
        (4.0, 0.0, 1.0, 0.25),
        (3.0, 2.0, 1.0, 0.5),
        (2.9, 0.0, 1.0, 0.0),  # rounding of clock ticks is no negative share
    ],
)
def test_what_was_not_ours_was_others(
    monkeypatch: pytest.MonkeyPatch, busy: float, stolen: float, clients_s: float, expected: float
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before = Sample({"database": 10.0}, MachineTime(100.0, 5.0))
    after = Sample({"database": 12.0}, MachineTime(100.0 + busy, 5.0 + stolen))
    assert others_share(before, after, clients_s, elapsed_s=2.0) == pytest.approx(expected)
    assert others_share(before, Sample({"database": 12.0}, None), clients_s, elapsed_s=2.0) is None
