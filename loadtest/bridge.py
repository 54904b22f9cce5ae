"""Between Locust's greenlets and the terminal kit's event loop, which run in two threads of one process."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult

T = TypeVar("T")


class Bridge:
    """Made in the thread of the greenlets. ``call`` lets a greenlet wait for a coroutine on ``loop`` in another thread.

    Other greenlets go on meanwhile: the loop's thread wakes this thread through libev's own thread-safe watcher.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[tuple[AsyncResult, Future[Any]]] = deque()
        self._wake = gevent.get_hub().loop.async_()
        self._wake.start(self._deliver)
        self._closed = False

    def call(self, work: Coroutine[Any, Any, T]) -> tuple[T, float]:
        """Its result, and how long it took on the loop (ms), without the way there and back. Raises ``CallFailed``."""
        waiter: AsyncResult = AsyncResult()
        future = asyncio.run_coroutine_threadsafe(_timed(work), self._loop)

        def finished(done: Future[Any]) -> None:
            if not self._closed:  # else the greenlet that asked was given up on
                self._done.append((waiter, done))
                self._wake.send()

        future.add_done_callback(finished)
        outcome: tuple[T, float] = waiter.get().result()
        return outcome

    def close(self) -> None:
        """Stop the watcher; what is still under way on the loop goes on, and nobody hears of it."""
        self._closed = True
        self._wake.stop()
        self._wake.close()

    def _deliver(self) -> None:
        while self._done:
            waiter, future = self._done.popleft()
            waiter.set(future)


class CallFailed(Exception):
    """A call raised ``reason``, after ``took_ms``."""

    def __init__(self, reason: Exception, took_ms: float) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.took_ms = took_ms


async def _timed(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    began = time.perf_counter()
    try:
        result = await work
    except Exception as error:
        raise CallFailed(error, (time.perf_counter() - began) * 1_000) from error
    return result, (time.perf_counter() - began) * 1_000
