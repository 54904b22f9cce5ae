"""Work that outlives the request that began it: tracked, bounded, and waited for when the service drains."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from settlement.errors import ServiceError

log = structlog.get_logger("settlement.engine")


class Background:
    """Runs sagas to their next durable state whether or not the till that asked is still there."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """How many tasks are under way."""
        return len(self._tasks)

    def check_room(self) -> None:
        """Refuse early what could not be carried on. Raises OVERLOADED."""
        if len(self._tasks) >= self._limit:
            raise ServiceError("OVERLOADED", retry_after_ms=1_000)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Begin some work; a failure is logged and left to recovery, which finds the durable state."""
        task = asyncio.create_task(self._guarded(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception:
            log.exception("background_failed", task=name)

    async def drain(self, timeout_s: float) -> int:
        """Wait for what is under way; returns how many tasks were still running when the time was over."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return len(self._tasks)
