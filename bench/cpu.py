"""CPU time by party while something is measured: service, database, bank hosts, and what else the machine did."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.cpu import cpu_seconds

_STAT = Path("/proc/stat")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_LOOKS = 3
_IDLE, _IOWAIT, _STEAL, _GUEST = 3, 4, 7, 8  # columns of the line "cpu" of proc(5)


@dataclass(frozen=True, slots=True)
class MachineTime:
    """CPU seconds of the whole machine since its start: ``busy`` at work, ``stolen`` by other guests of its host."""

    busy: float
    stolen: float


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU seconds so far, by party, and of the whole machine (None where /proc/stat cannot be read)."""

    parties: Mapping[str, float]
    machine: MachineTime | None

    def since(self, earlier: Sample) -> dict[str, float]:
        """CPU seconds of each party since an earlier sample."""
        return {name: seconds - earlier.parties[name] for name, seconds in self.parties.items()}


def sample(parties: Mapping[str, Iterable[int]]) -> Sample:
    """Read the parties, each a set of process ids; their children count too, also those that have ended.

    A child that ends while it is read may be seen neither alive nor among the ended, so a reading can be too low, never
    too high: of several, the highest holds.
    """
    return Sample(
        {name: max(cpu_seconds(pids) for _ in range(_LOOKS)) for name, pids in _lists(parties).items() if pids},
        machine_time(),
    )


def others_share(before: Sample, after: Sample, clients_s: float, elapsed_s: float) -> float | None:
    """Share of all cores' time that went neither to the parties nor to the clients (CPU seconds), but to others on this
    machine or to other guests of its host. None where that cannot be read.
    """
    if before.machine is None or after.machine is None:
        return None
    ours_s = sum(after.since(before).values()) + clients_s
    busy_s = after.machine.busy - before.machine.busy
    stolen_s = after.machine.stolen - before.machine.stolen
    return max(0.0, busy_s - ours_s + stolen_s) / (elapsed_s * (os.cpu_count() or 1))


def machine_time() -> MachineTime | None:
    """What the machine's cores did since it started; None where that cannot be read."""
    try:
        first = _STAT.read_text(encoding="ascii").splitlines()[0]
    except (OSError, IndexError):
        return None
    columns = [int(column) / _TICKS_A_SECOND for column in first.split()[1:]]
    busy = sum(columns[:_GUEST]) - columns[_IDLE] - columns[_IOWAIT] - columns[_STEAL]  # guest time is in user time
    return MachineTime(busy, columns[_STEAL])


def _lists(parties: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    return {name: list(pids) for name, pids in parties.items()}
