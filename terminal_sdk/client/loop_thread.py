"""An event loop in a thread of its own, for programs that have none: hand in a coroutine, get its result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from terminal_sdk.errors import TerminalError

T = TypeVar("T")

_LOOK_UP_S = 0.5
"""Where the system does not wake a waiting thread for Ctrl-C (Windows), it is noticed after so long."""
_CANCEL_S = 5.0
"""How long an interrupted call is waited for, so that it leaves the journal in order."""


class LoopThread:
    """Runs coroutines for any number of threads at once. The thread ends with ``close``, or with the program."""

    def __init__(self, name: str) -> None:
        self._owner = os.getpid()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result. Raises what it raises, and ``TerminalError`` where it cannot be run.

        An interrupt (Ctrl-C) cancels the coroutine, waits until it has ended, and goes on.
        """
        problem = self._problem()
        if problem is not None:
            work.close()
            raise TerminalError(problem)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not future.done():
                concurrent.futures.wait([future], timeout=_LOOK_UP_S)
            return future.result()
        except concurrent.futures.CancelledError:
            raise TerminalError("the terminal was closed during the call; the journal knows what is open") from None
        except BaseException:
            if future.cancel():
                self._await_end()
            raise

    def close(self) -> None:
        """Cancel what is still under way, end the loop and its thread. Harmless a second time, and after a fork."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _problem(self) -> str | None:
        if os.getpid() != self._owner:
            return "this terminal was opened by the parent process; open one of its own after a fork"
        if threading.current_thread() is self._thread:
            return "this is the terminal's own loop: await the asynchronous Terminal here"
        return "the terminal is closed" if self._closed else None

    def _await_end(self) -> None:
        """Until the loop has taken note of a cancellation and the journal's thread has ended its write."""
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(_settled(), self._loop).result(_CANCEL_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


async def _settled() -> None:
    """Ends when every task that was cancelled before has ended."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and task.cancelling()]
    await asyncio.gather(*others, return_exceptions=True)
