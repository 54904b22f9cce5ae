"""CPU time of processes, read from /proc: who spent how much while the load ran."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_PROC = Path("/proc")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_UTIME, _CUTIME_END = 11, 15  # fields 14 to 17 of proc(5), counted from the one after the name


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds (user and system) of these processes and all their children, also of children that have ended.

    A process that has ended counts nothing any more. A child that ended counts once its parent has waited for it.
    """
    return sum(_ticks(pid) for pid in pids) / _TICKS_A_SECOND


def readings(processes: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """CPU seconds so far by group; this process is the group ``generator``. Groups without processes are left out."""
    taken = {
        name: cpu_seconds(pids) for name, pids in ((name, tuple(pids)) for name, pids in processes.items()) if pids
    }
    times = os.times()
    taken["generator"] = times.user + times.system
    return taken


def _ticks(pid: int) -> int:
    stat = _read(_PROC / str(pid) / "stat")
    # The name may hold spaces and parentheses; the fields begin after its last parenthesis.
    own = sum(map(int, stat.rpartition(")")[2].split()[_UTIME:_CUTIME_END]))
    # Each thread has a list of the children that it has started.
    lists = [_read(path) for path in (_PROC / str(pid) / "task").glob("*/children")] if stat else []
    return own + sum(_ticks(int(child)) for child in " ".join(lists).split())


def _read(path: Path) -> str:
    """The text; empty where the process or thread has ended meanwhile."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
