"""Ctrl-C or SIGTERM while money is on its way: it ends the call that waits, once, and can cut off nothing else."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class CtrlC:
    """From ``arm`` on, the first Ctrl-C cancels the call that runs now or the next one; impatient ones are passed over.

    Unarmed, Ctrl-C is what it always is. An exception at any place, which a second press would raise while the first
    is being told, would end the program as if nothing had happened. SIGTERM (a supervisor, a shutdown) is a Ctrl-C.
    """

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._armed = False
        self._pressed = False
        self._waiting: asyncio.Task[Any] | None = None
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminate)

    def arm(self) -> None:
        """From here on the program ends by its outcome only. Harmless a second time."""
        if not self._armed and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
            self._armed = True

    def disarm(self) -> None:
        """The till is closed. After a press the rest is but telling of it, which further presses do not cut off."""
        if self._armed:
            signal.signal(signal.SIGINT, signal.SIG_IGN if self._pressed else self._before)
            signal.signal(signal.SIGTERM, signal.SIG_IGN if self._pressed else signal.SIG_DFL)
            self._armed = False

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """One call to its end. Raises what it raises, and ``KeyboardInterrupt`` if Ctrl-C came first."""
        if self._pressed:
            call.close()
            raise KeyboardInterrupt
        try:
            return self._runner.run(self._watched(call))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    async def _watched(self, call: Coroutine[Any, Any, T]) -> T:
        self._waiting = asyncio.current_task()
        try:
            return await call
        finally:
            self._waiting = None

    def _press(self, _: int, __: FrameType | None) -> None:
        first, self._pressed = not self._pressed, True
        if first and self._waiting is not None:
            # Handlers run between two steps of the loop as well, so the loop has to be woken for it.
            self._runner.get_loop().call_soon_threadsafe(self._waiting.cancel)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        if self._armed or self._waiting is not None:
            self._press(number, frame)
        else:
            raise KeyboardInterrupt  # at a prompt, as Ctrl-C does
