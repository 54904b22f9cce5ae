"""The ledger alone: `settlement.ledger.Ledger` called straight, with the service's own pool and batches."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Sequence

import asyncpg

from bench.bills import CURRENT_YEAR_FEN
from bench.cells import BenchError, Cell, Part, Reading, counted
from bench.load.jobs import Closed, LedgerJob, Payment
from bench.load.ledger import INSTITUTION, REHEARSALS
from bench.parts.settle import TITLES
from bench.readings import loop_readings
from bench.world import World, new_mark
from settlement.bootstrap import ensure_partitions
from settlement.businessdate import business_date
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.db.migrate import migrate
from settlement.db.queries import load_queries
from settlement.ledger.verify import verify_ledger

SQL = load_queries("bench", "sql/ledger.sql")
_GUESS_PER_S = 2_000.0


class LedgerGround:
    """A database of its own with persons who have not paid yet."""

    def __init__(self, world: World, dsn: str, pool: asyncpg.Pool) -> None:
        self._world = world
        self._dsn = dsn
        self._pool = pool
        self._settled = 0
        self._fresh: dict[Payment, list[int]] = {"account": [], "bank": []}

    async def measure(self, payment: Payment, clients: int) -> list[Reading]:
        """One run with so many callers at a time; each person pays once."""
        key, seconds = f"ledger.{payment}/{clients}", self._world.options.seconds
        rehearsals = REHEARSALS * clients
        await self._stock(payment, self._world.expected(key, seconds, _GUESS_PER_S) + rehearsals)
        persons, self._fresh[payment] = self._fresh[payment], []
        job = LedgerJob(dsn=self._dsn, persons=persons, payment=payment, mark=new_mark())
        measured = await self._world.run(job, Closed(clients=clients, seconds=seconds), self._world.database_only())
        self._settled += measured.tally.done + rehearsals
        self._fresh[payment] = measured.tally.unused(persons, REHEARSALS)
        readings = loop_readings(measured, "settlement")
        self._world.learn(key, readings[0].value)
        return readings

    async def check(self) -> None:
        """Raises ``BenchError`` unless every invariant holds and the ledger has what was counted here."""
        report = await verify_ledger(self._pool)
        if report.violations:
            first = report.violations[0]
            raise BenchError(f"the books of the ledger alone are wrong: {first.invariant}: {first.finding}")
        if report.counts["settled"] != self._settled:
            raise BenchError(f"{self._settled} settlements were counted, the ledger has {report.counts['settled']}")

    async def _stock(self, payment: Payment, count: int) -> None:
        missing = count - len(self._fresh[payment])
        if missing <= 0:
            return
        today = business_date(SystemClock().now(), Settings().cut_over)
        async with self._pool.acquire() as connection, connection.transaction():
            persons = [row["id"] for row in await connection.fetch(SQL["persons"], missing)]
            await connection.fetchval(SQL["credit"], persons, CURRENT_YEAR_FEN[payment], today)
        await self._pool.execute("analyze person, card, insurance_accounts, account_credit, transfer")
        self._fresh[payment] += persons


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    async with world.server.database("ledger") as dsn, asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        async with pool.acquire() as connection:
            await migrate(connection)
        await ensure_partitions(pool, SystemClock(), Settings(database_url=dsn))
        await pool.execute(SQL["institution"], INSTITUTION)
        ground = LedgerGround(world, dsn, pool)
        yield [
            Cell(
                key=f"ledger.{payment}/{clients}",
                title=f"ledger alone, {title}, {counted(clients, 'client')}",
                clients=clients,
                measure=functools.partial(ground.measure, payment, clients),
            )
            for payment, title in TITLES.items()
            for clients in world.options.clients
        ]
        await ground.check()


LEDGER = Part(name="ledger", title="the ledger alone", open=_open)
