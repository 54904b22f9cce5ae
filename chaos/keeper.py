"""A child process that is brought back whenever it has ended, as a process supervisor does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from chaos.processes import children
from settlement.childprocess import ChildError

_POLL_S = 0.02
_RETRY_S = 0.5

Tell = Callable[[str, str], object]
"""Told what happened to a process: its name, and what."""


class Child(Protocol):
    """What is kept: a ``ChildProcess`` that knows how to start itself."""

    @property
    def running(self) -> bool: ...  # noqa: D102
    @property
    def pid(self) -> int | None: ...  # noqa: D102
    async def start(self) -> None: ...  # noqa: D102
    async def stop(self, timeout_s: float = ...) -> int: ...  # noqa: D102


class Keeper:
    """Keeps one child running. ``tell`` hears of each return and of each end that nobody here has caused.

    ``workers``: how many children of its own it brings back by itself; 1: it does the work itself, and has none.
    ``died``: how often it ended by itself while at work; a start that fails (its database is away) is tried again.
    """

    def __init__(self, name: str, child: Child, tell: Tell, *, workers: int = 1) -> None:
        self.name = name
        self.child = child
        self.died = 0
        self.workers_killed = 0
        self._workers = workers
        self._tell = tell
        self._killed = False
        self._paused = set[int]()
        self._away_until = 0.0
        self._up = False
        self._task: asyncio.Task[None] | None = None

    @property
    def at_work(self) -> bool:
        """Whether it runs, is ready, has all its workers, and nothing of it is paused."""
        whole = self._workers == 1 or len(self._worker_pids()) == self._workers
        return self._up and self.child.running and not self._paused and whole

    def keep(self) -> None:
        """Begin to keep a child that was started."""
        self._up = True
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def leave(self) -> None:
        """Keep it no longer; it runs on. A paused one is continued, so that it can be stopped in good order."""
        for pid in [*self._paused]:
            self.go_on(pid)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def kill(self, away_ms: int) -> bool:
        """SIGKILL; it is started again after ``away_ms``. False if there was nothing to kill."""
        if not self.child.running or self.child.pid is None or not _signal(self.child.pid, signal.SIGKILL):
            return False
        self._up, self._killed, self._away_until = False, True, time.monotonic() + away_ms / 1_000
        return True

    def kill_worker(self, place: int) -> bool:
        """SIGKILL for one worker, which its parent replaces. False if there was none."""
        if self._workers == 1:
            return self.kill(0)
        pid = self._worker(place)
        if pid is None or not _signal(pid, signal.SIGKILL):
            return False
        self.workers_killed += 1
        return True

    def pause_worker(self, place: int) -> int | None:
        """SIGSTOP: it keeps its connections and its memory, and does nothing. Its process, None if there was none."""
        pid = self._worker(place)
        if pid is None or not _signal(pid, signal.SIGSTOP):
            return None
        self._paused.add(pid)
        return pid

    def go_on(self, pid: int) -> None:
        """SIGCONT."""
        self._paused.discard(pid)
        _signal(pid, signal.SIGCONT)

    async def until_at_work(self, timeout_s: float) -> None:
        """Wait until it is ready. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            while True:
                if self.at_work:
                    return
                await asyncio.sleep(_POLL_S)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            if self.child.running:
                continue
            self._up = False
            status = await self.child.stop()  # reaps what has ended
            if not self._killed:
                self.died += 1
                self._tell(self.name, f"ended by itself with status {status}")
            await asyncio.sleep(max(0.0, self._away_until - time.monotonic()))
            await self._start()

    async def _start(self) -> None:
        while True:
            self._killed = False
            try:
                await self.child.start()
            except ChildError:
                self._tell(self.name, "could not start yet")
                await asyncio.sleep(_RETRY_S)
            else:
                self._up = True
                self._tell(self.name, "is back")
                return

    def _worker(self, place: int) -> int | None:
        pids = self._worker_pids()
        return pids[place] if place < len(pids) else None

    def _worker_pids(self) -> list[int]:
        """The processes that do the work, the oldest first."""
        if not self.child.running or self.child.pid is None:
            return []
        return [self.child.pid] if self._workers == 1 else sorted(children(self.child.pid))


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
