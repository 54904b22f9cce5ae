"""The load process: reads an order, prepares it, says that it is ready, waits for the word, runs, reports; again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import traceback
from collections.abc import AsyncIterator, Sequence

import msgspec
import uvloop

from bench.load import double_entry, echo, http, ledger, shots, till
from bench.load.jobs import (
    Closed,
    DoubleEntryJob,
    EchoJob,
    Failed,
    Go,
    HttpJob,
    LedgerJob,
    LoopJob,
    Order,
    Ready,
    Record,
    Reply,
    ShotsJob,
    Tally,
    TillJob,
)
from bench.load.loops import Operation, closed_loop, open_loop


def prepared(job: LoopJob, clients: int) -> contextlib.AbstractAsyncContextManager[Sequence[Sequence[Operation]]]:
    """The operations of each client, with all done that need not be measured."""
    match job:
        case HttpJob():
            return http.prepared(job, clients)
        case TillJob():
            return till.prepared(job, clients)
        case EchoJob():
            return echo.prepared(job, clients)
        case LedgerJob():
            return ledger.prepared(job, clients)
        case DoubleEntryJob():
            return double_entry.prepared(job, clients)


async def serve(order: Order) -> Tally | Record | None:
    """Run one order; None when the parent has gone meanwhile."""
    plan, job = order.plan, order.job
    if isinstance(job, ShotsJob):
        async with shots.prepared(job) as (wires, requests), started() as start_at:
            return None if start_at is None else await shots.fire(wires, requests, plan, start_at)
    clients = plan.clients if isinstance(plan, Closed) else 1
    async with prepared(job, clients) as operations, started() as start_at:
        if start_at is None:
            return None
        if isinstance(plan, Closed):
            return await closed_loop(operations, start_at, plan.seconds)
        return await open_loop(operations[0], start_at, plan.offsets_s)


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[float | None]:
    """Say that all is prepared and wait for the word; when to start, None when there will be no word any more."""
    gc.collect()
    gc.freeze()  # what was prepared need not be looked through while the clock runs
    try:
        say(Ready())
        word = await asyncio.to_thread(sys.stdin.buffer.readline)
        yield msgspec.json.decode(word, type=Go).start_at if word else None
    finally:
        gc.unfreeze()


def say(reply: Reply) -> None:
    """One line to the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Until standard input ends, as it does when the parent dies."""
    while line := sys.stdin.buffer.readline():
        try:
            tally = uvloop.run(serve(msgspec.json.decode(line, type=Order)))
        except Exception as error:
            traceback.print_exc()
            say(Failed(reason=f"{type(error).__name__}: {error}"))
        else:
            if tally is None:
                return
            say(tally)


if __name__ == "__main__":
    main()
