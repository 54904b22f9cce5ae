"""The load process: reads an order, prepares it, says that it is ready, waits for the word, runs, reports; again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import traceback
from collections.abc import Sequence

import msgspec
import uvloop

from bench.load import double_entry, echo, http, ledger, till
from bench.load.jobs import (
    Closed,
    DoubleEntryJob,
    EchoJob,
    Failed,
    Go,
    HttpJob,
    Job,
    LedgerJob,
    Order,
    Ready,
    Reply,
    Tally,
    TillJob,
)
from bench.load.loops import Operation, closed_loop, open_loop


def prepared(job: Job, clients: int) -> contextlib.AbstractAsyncContextManager[Sequence[Sequence[Operation]]]:
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


async def serve(order: Order) -> Tally | None:
    """Run one order; None when the parent has gone meanwhile."""
    plan = order.plan
    clients = plan.clients if isinstance(plan, Closed) else 1
    async with prepared(order.job, clients) as operations:
        gc.collect()
        gc.freeze()  # what was prepared need not be looked through while the clock runs
        say(Ready())
        word = await asyncio.to_thread(sys.stdin.buffer.readline)
        if not word:
            return None
        start_at = msgspec.json.decode(word, type=Go).start_at
        try:
            if isinstance(plan, Closed):
                return await closed_loop(operations, start_at, plan.seconds)
            return await open_loop(operations[0], start_at, plan.offsets_s)
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
