"""The private loop: closing it under the calls of other threads, and what its calls see of their caller."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from terminal_sdk import TerminalClosed
from terminal_sdk.client.loop import LoopThread

CALLERS = 6
TIMEOUT_S = 30.0


def opened() -> LoopThread:
    loop = LoopThread(contextlib.nullcontext())
    loop.start()
    return loop


@pytest.mark.parametrize("end", [LoopThread.close, LoopThread.abandon])
def test_no_call_hangs_while_it_closes(end: object) -> None:
    """Every call either ends as it would, or hears that it came too late or was cut off."""
    assert callable(end)
    for _ in range(40):
        loop = opened()
        under_way = threading.Semaphore(0)

        def call_until_closed(loop: LoopThread = loop, under_way: threading.Semaphore = under_way) -> None:
            with contextlib.suppress(TerminalClosed, asyncio.CancelledError):
                while True:
                    assert loop.call(asyncio.sleep, 0, "answer") == "answer"
                    under_way.release()

        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(call_until_closed) for _ in range(CALLERS)]
            for _ in range(CALLERS):
                assert under_way.acquire(timeout=TIMEOUT_S)
            end(loop)
            for each in calls:
                each.result(TIMEOUT_S)
        loop.close()


def test_a_call_runs_in_the_context_of_its_caller() -> None:
    order: contextvars.ContextVar[str] = contextvars.ContextVar("order")
    order.set("ORDER-1")

    async def look() -> str:
        return order.get()

    loop = opened()
    assert loop.call(look) == "ORDER-1"
    loop.close()


def test_what_opening_raises_is_raised_to_the_opener() -> None:
    class Broken:
        async def __aenter__(self) -> None:
            raise OSError("no journal")

        async def __aexit__(self, *_: object) -> None: ...

    with pytest.raises(OSError, match="no journal"):
        LoopThread(Broken()).start()
    for thread in threading.enumerate():
        if thread.name == "terminal-loop":
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
