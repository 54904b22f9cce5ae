"""Which processes belong to which, as the kernel tells it (Linux)."""

from __future__ import annotations

import contextlib
from pathlib import Path

_PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """The process numbers of a process's children; empty where the system does not tell, or it is gone."""
    found = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(each) for each in task.read_text(encoding="ascii").split()]
    return found
