"""Work in chunks over processes of our own: what costs CPU before a load begins must not take the whole day."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Advance = Callable[[int], object]
"""Told how many more of the pieces are done; for a progress bar."""


def ignore(_: int) -> None:
    """Where nobody watches."""


async def in_processes(
    work: Callable[[list[T]], list[R]],
    pieces: Sequence[T],
    *,
    chunk: int,
    processes: int | None = None,
    advance: Advance = ignore,
) -> list[R]:
    """``work`` over all pieces, ``chunk`` at a time; the results in the order of the pieces.

    ``work`` is a function of a module (it is called in other processes). ``processes``: by default one a core; what
    fits one chunk is done in a thread here, without the half second that a new process takes.
    """
    chunks = [list(pieces[start : start + chunk]) for start in range(0, len(pieces), chunk)]
    if len(chunks) <= 1:
        results = [await asyncio.to_thread(work, each) for each in chunks]
        advance(len(pieces))
        return [result for each in results for result in each]
    workers = min(processes or os.cpu_count() or 1, len(chunks))
    loop = asyncio.get_running_loop()
    # Spawned, not forked: this process has an event loop and threads, which a fork would break.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:

        async def one(mine: list[T]) -> list[R]:
            done = await loop.run_in_executor(pool, work, mine)
            advance(len(mine))
            return done

        results = await asyncio.gather(*(one(each) for each in chunks))
    return [result for each in results for result in each]
