"""A private event loop in a thread of its own: how a program without one drives the asynchronous client.

Whoever calls waits; Ctrl-C, a fork, the end of the interpreter and calls from many threads are dealt with here, once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec, TypeVar

from terminal_sdk.errors import TerminalClosed, TerminalError

_LOOK_UP_S = 0.5
"""Where the system does not wake a waiting thread for Ctrl-C (Windows), it is noticed after so long."""
_GIVE_UP_S = 5.0
"""How long a call that is cancelled, or a loop at the interpreter's end, may take to come to its end."""

T = TypeVar("T")
P = ParamSpec("P")


class LoopThread:
    """Holds an asynchronous resource open in its own loop and runs calls there, for any thread.

    ``start`` opens the resource and raises what opening it raises; ``close`` waits for the calls under way, closes it
    and ends the thread. A process forked meanwhile has no such thread: there every call raises ``TerminalClosed``.

    A call that is cut off raises ``asyncio.CancelledError``, as the asynchronous client's do, and no ``TerminalError``:
    from a call that moves money that would say that nothing was sent.
    """

    def __init__(self, resource: AbstractAsyncContextManager[object]) -> None:
        self._resource = resource
        self._process_id = os.getpid()
        self._opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._closed: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._calls: dict[concurrent.futures.Future[Any], asyncio.Task[Any] | None] = {}
        # A daemon, so that a till which never closes its terminal can end all the same.
        self._thread = threading.Thread(target=self._main, name="terminal-loop", daemon=True)
        self._lock = threading.Lock()
        self._is_closing = False
        self._is_abandoned = False
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    @property
    def is_ours(self) -> bool:
        """Whether the thread lives in this process, and not in the one that this was forked from."""
        return os.getpid() == self._process_id

    def start(self) -> None:
        """Start the thread and open the resource."""
        self._thread.start()
        try:
            _wait(self._opened)
        except BaseException:
            self.abandon()
            raise

    def call(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the call in the loop and wait for its result, or raise its error.

        What interrupts the waiting (Ctrl-C) cancels the call. Raises ``TerminalClosed`` if it cannot begin any more.
        """

        async def work() -> T:
            return await function(*args, **kwargs)

        self._require_usable()
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._enter(outcome, lambda: self._begin(outcome, work))
        try:
            return _wait(outcome)
        except BaseException:
            if not outcome.done():
                self._cancel(outcome)
            raise
        finally:
            self._calls.pop(outcome, None)

    def close(self) -> None:
        """Take no more calls, let those of other threads end, close, and wait for the thread to end.

        Ctrl-C cuts those calls off. In a forked process there is no thread, and nothing is done.
        """
        if not self.is_ours:
            return
        with self._lock:
            self._is_closing = True
            under_way = list(self._calls)
        try:
            _wait_for_all(under_way)
        finally:
            self.abandon()
            _wait(self._closed)
            self._thread.join()

    def abandon(self) -> None:
        """Cut off what is under way and let it close by itself; waits only where the interpreter would end first."""
        if not self.is_ours:
            return
        self._is_abandoned = True
        with contextlib.suppress(TerminalClosed, AttributeError):  # it has ended, or has not come to its loop yet
            self._tell(self._stop.set)
        in_other_thread = self._thread.is_alive() and self._thread is not threading.current_thread()
        if in_other_thread and not threading.main_thread().is_alive():
            self._thread.join(_GIVE_UP_S)

    def _require_usable(self) -> None:
        if not self.is_ours:
            raise TerminalClosed("the terminal was opened before this process was forked: open one of its own here")
        if threading.current_thread() is self._thread:
            raise TerminalError("a terminal cannot be called from inside its own calls (clock, transport, jitter)")

    def _enter(self, outcome: concurrent.futures.Future[Any], begin: Callable[[], None]) -> None:
        with self._lock:  # whoever closes sees the call, or the call sees that it is too late
            if self._is_closing:
                raise TerminalClosed(_CLOSED)
            self._calls[outcome] = None
            try:
                self._tell(begin)
            except TerminalClosed:
                del self._calls[outcome]
                raise

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError as error:
            raise TerminalClosed(_CLOSED) from error

    def _cancel(self, outcome: concurrent.futures.Future[Any]) -> None:
        """Cancel a call and see it end, so that its key is free for the next one."""

        def cancel() -> None:
            task = self._calls.get(outcome)
            if task is not None:
                task.cancel()

        with contextlib.suppress(TerminalClosed):
            self._tell(cancel)
            concurrent.futures.wait([outcome], timeout=_GIVE_UP_S)

    def _begin(self, outcome: concurrent.futures.Future[T], work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        if self._stop.is_set():
            outcome.set_exception(TerminalClosed(_CLOSED))
            return

        def end(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                outcome.set_exception(asyncio.CancelledError(_CUT_OFF))
            elif (error := task.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(task.result())

        task = self._loop.create_task(work())
        self._calls[outcome] = task
        task.add_done_callback(end)

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._serve())
        except BaseException as caught:  # it belongs to the thread that waits
            error = caught
        # The loop is closed: whoever asked it before has been entered here, and whoever asks now is refused.
        for outcome, task in list(self._calls.items()):
            if not outcome.done():
                outcome.set_exception(TerminalClosed(_CLOSED) if task is None else asyncio.CancelledError(_CUT_OFF))
        last = self._closed if self._opened.done() else self._opened
        if error is not None:
            last.set_exception(error)
        if not self._closed.done():
            self._closed.set_result(None)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(_Workers())
        if self._is_abandoned:
            self._stop.set()
        async with self._resource:
            self._opened.set_result(None)
            await self._stop.wait()
            tasks = [task for task in list(self._calls.values()) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Workers(concurrent.futures.ThreadPoolExecutor):
    """A thread of its own for each piece of blocking work (card, disk).

    The standard pool takes no more work once the main thread has ended, though other threads of the till may still be
    settling; and with it no process can end while a card reader hangs.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Begin at once."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # it belongs to whoever asked
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            threading.Thread(target=work, name="terminal-work", daemon=True).start()
        except RuntimeError:
            work()  # at its very end the interpreter starts no threads, and there is nothing else to be served
        return future


_CLOSED = "the terminal is closed; nothing was begun"
_CUT_OFF = "the call was cut off; a bill that was begun is in the journal: open the terminal again and recover"


def _wait(outcome: concurrent.futures.Future[T]) -> T:
    _wait_for_all([outcome])
    return outcome.result()


def _wait_for_all(outcomes: Collection[concurrent.futures.Future[Any]]) -> None:
    while concurrent.futures.wait(outcomes, timeout=_LOOK_UP_S).not_done:
        pass
