"""Clients of the plain double entry: each has a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg

from bench.bills import TOTAL_FEN
from bench.double_entry import transfer
from bench.load.jobs import SETTLED, DoubleEntryJob
from bench.load.loops import Operation
from settlement.db.pool import Connection


@contextlib.asynccontextmanager
async def prepared(job: DoubleEntryJob, clients: int) -> AsyncIterator[Sequence[Sequence[Operation]]]:
    """Connect, and have every statement prepared by one transfer that is rolled back."""
    connections = await asyncio.gather(*(asyncpg.connect(job.dsn) for _ in range(clients)))
    try:
        for connection in connections:
            rehearsal = connection.transaction()
            await rehearsal.start()
            await transfer(connection, job.payers[0], job.payees[0], TOTAL_FEN)
            await rehearsal.rollback()
        operations: list[list[Operation]] = [[] for _ in connections]
        for number, payer in enumerate(job.payers):
            client = number % clients
            payee = job.payees[number % len(job.payees)]
            operations[client].append(_transferring(connections[client], payer, payee))
        yield operations
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))


def _transferring(connection: Connection, payer: int, payee: int) -> Operation:
    async def move() -> str:
        return SETTLED if await transfer(connection, payer, payee, TOTAL_FEN) else "insufficient"

    return move
