"""The plain double entry (`bench.double_entry`), driven by as many connections as there are clients."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Sequence

import asyncpg

from bench.bills import TOTAL_FEN
from bench.cells import BenchError, Cell, Part, Reading, counted
from bench.double_entry import check_books, make_accounts
from bench.load.jobs import Closed, DoubleEntryJob
from bench.readings import loop_readings
from bench.world import World

_PAYEES = 1_000
_PAYERS_MIN = 2_000
_GUESS_PER_S = 1_500.0
_OPENING_FEN = 1_000 * TOTAL_FEN


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    payers = max(_PAYERS_MIN, world.expected("double_entry", world.options.seconds, _GUESS_PER_S))
    async with world.server.database("double_entry") as dsn, asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        ids = await make_accounts(pool, payers, _PAYEES, _OPENING_FEN)
        yield [
            Cell(
                key=f"double_entry/{clients}",
                title=f"plain SQL double entry, {counted(clients, 'client')}",
                clients=clients,
                measure=functools.partial(_measure, world, dsn, ids, clients),
            )
            for clients in world.options.clients
        ]
        if wrong := await check_books(pool):
            raise BenchError(f"the books of the plain double entry are wrong: {wrong[0]}")


async def _measure(world: World, dsn: str, ids: tuple[list[int], list[int]], clients: int) -> list[Reading]:
    payers, payees = ids
    job = DoubleEntryJob(dsn=dsn, payers=payers, payees=payees)
    measured = await world.run(job, Closed(clients=clients, seconds=world.options.seconds), world.database_only())
    return loop_readings(measured, "transfer")


DOUBLE_ENTRY = Part(name="double-entry", title="plain SQL double entry", open=_open)
