"""CPU time from /proc: what processes and their children spend is counted, and nothing that is not theirs."""

from __future__ import annotations

import os
import subprocess
import sys

from loadtest.cpu import cpu_seconds, readings

BURN = "import os\nwhile os.times().user < 0.3: pass\n"
PARENT = (
    f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\nprint('done', flush=True)\ninput()\n"
)


def test_a_child_that_has_ended_counts_for_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "done\n"
        assert cpu_seconds([parent.pid]) >= 0.3
        parent.communicate("\n")
    assert cpu_seconds([parent.pid]) == 0


def test_a_living_child_counts_and_so_does_this_process() -> None:
    before = cpu_seconds([os.getpid()])
    with subprocess.Popen(
        [sys.executable, "-c", BURN + "print('done', flush=True)\ninput()\n"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        taken = readings({"service": (child.pid,), "database": ()})
        assert set(taken) == {"service", "generator"}
        assert taken["service"] >= 0.3
        assert cpu_seconds([os.getpid()]) - before >= 0.3  # the child is ours
        child.communicate("\n")
