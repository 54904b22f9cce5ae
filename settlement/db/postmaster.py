"""What ``postmaster.pid`` says about a running server, and whether that is still true after a crash."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LINES = 8


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server as its lock file describes it; ``ready`` once it takes connections."""

    pid: int
    port: int
    socket_dir: Path
    ready: bool


def read_postmaster(pgdata: Path) -> Postmaster | None:
    """The complete contents of ``postmaster.pid``; None if there is none, or it is still being written."""
    try:
        lines = (pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < _LINES:
        return None
    return Postmaster(
        pid=int(lines[0]), port=int(lines[3]), socket_dir=Path(lines[4]), ready=lines[7].strip() == "ready"
    )


def recorded_pid(pgdata: Path) -> int | None:
    """The process number in ``postmaster.pid``, which stands there before the rest does; None if there is none."""
    try:
        first = (pgdata / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() else None


def is_postmaster(pid: int, pgdata: Path) -> bool:
    """Whether the process lives and serves this very data directory.

    The number alone proves nothing: after a crash or a reboot it may belong to any other program.
    """
    if not _PROC.joinpath("self").exists():
        return _is_postgres_by_ps(pid)
    process = _PROC / str(pid)
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if (
        Path(os.fsdecode(arguments[0])).name != "postgres"
    ):  # also a dead one that nobody waited for: it has no arguments
        return False
    try:
        return process.joinpath("cwd").samefile(pgdata)
    except FileNotFoundError:
        return False
    except PermissionError:  # root in a container may not look into another user's process; its arguments are open
        return os.fsencode(pgdata) in arguments


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not merely a dead one that nobody waited for."""
    if _PROC.joinpath("self").exists():
        try:
            state = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return state.rpartition(")")[2].split()[0] not in {"Z", "X"}
    return exists(pid)


def exists(pid: int) -> bool:
    """Whether the number is taken, by a living process or by a dead one that nobody waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_postgres_by_ps(pid: int) -> bool:
    """Systems without /proc."""
    found = subprocess.run(  # noqa: S603  # a fixed program and a number
        ["/bin/ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return Path(found.stdout.strip()).name == "postgres"
