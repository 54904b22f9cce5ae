"""The turn of the insurance year in the books: who is judged, opened and swept, each batch in one transaction."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
import msgspec

from settlement.db.pool import Connection, plan_freely
from settlement.db.queries import load_queries

SQL = load_queries("settlement.ledger", "sql/years.sql")
BATCH = 500
"""Persons whose accounts are locked at a time: their tills wait for that long, some 0.1 s."""

_LOCK_KEY = 0x5E771E_0019


class Opening(msgspec.Struct, frozen=True):
    """A person whose year is to be opened. ``turn_id``: of its transfers and credit · ``credit_fen``: may be 0."""

    person_id: int
    turn_id: uuid.UUID
    credit_fen: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of an opening: ``opened`` now, ``open`` (only judged: it can be), ``known``: before and the same,
    ``differs``: before with another credit, ``later``: a later year is open, ``no_accounts``.

    ``rolled_fen``: what was or would be carried over · ``credited_fen``: the credit that stands.
    """

    outcome: str
    rolled_fen: int
    credited_fen: int


class YearBook:
    """The books of insurance years, over one connection. Fen in ``int``; moments are aware UTC; asyncpg's errors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Keep other runs of the job away; False: one is under way. It ends with the connection at the latest."""
        taken = bool(await self._connection.fetchval(SQL["take_turn"], _LOCK_KEY))
        try:
            yield taken
        finally:
            if taken and not self._connection.is_closed():
                await self._connection.fetchval(SQL["give_turn_back"], _LOCK_KEY)

    async def standing(self, year: int) -> tuple[int | None, dt.datetime | None]:
        """The year that the books are in (None: none was opened yet); when ``year`` was first opened for anybody."""
        row = await self._read(SQL["opened_years"], year)
        return row["opened_year"], row["began_at"]

    async def judge(self, year: int, items: Sequence[Opening]) -> list[Opened]:
        """What would become of each, in their order; changes nothing."""
        return _opened(await self._connection.fetch(SQL["judge_openings"], year, _rows(items)))

    async def open(
        self,
        year: int,
        items: Sequence[Opening],
        *,
        reason: str,
        began_at: dt.datetime,
        posting_date: dt.date,
        now: dt.datetime,
    ) -> list[Opened]:
        """Turn the year for these persons, in one transaction; what became of each, in their order.

        ``reason``: kept with the credits · ``began_at``: when the first of all persons was turned; who was registered
        later has no money of an older year.
        """
        values = (year, reason, began_at, posting_date, now)
        return _opened(await self._connection.fetch(SQL["open_year"], _rows(items), *values))

    async def count_unopened(self, year: int) -> tuple[int, int]:
        """For how many persons the year was not opened yet, and what would be carried over (fen)."""
        row = await self._read(SQL["count_unopened"], year)
        return row["persons"], row["rolled_fen"]

    async def unopened(self, year: int, after: int) -> list[int]:
        """Up to ``BATCH`` persons for whom the year was not opened yet, from after this id on."""
        return [row["person_id"] for row in await self._connection.fetch(SQL["unopened"], year, after, BATCH)]

    async def count_opened(self, year: int, before: dt.datetime) -> int:
        """For how many persons the year was opened before a moment."""
        count: int = (await self._read(SQL["count_opened"], year, before))["count"]
        return count

    async def opened(self, year: int, before: dt.datetime, after: int) -> list[int]:
        """Up to ``BATCH`` persons for whom the year was opened before a moment, from after this id on."""
        rows = await self._connection.fetch(SQL["opened"], year, before, after, BATCH)
        return [row["person_id"] for row in rows]

    async def remainders(self, year: int, persons: Sequence[int]) -> dict[int, int]:
        """What came back from older years and was not carried over yet (fen), by person; nobody with nothing."""
        rows = await self._connection.fetch(SQL["remainders"], persons, year)
        return {row["person_id"]: row["rolled_fen"] for row in rows}

    async def sweep(
        self, year: int, items: Sequence[tuple[int, uuid.UUID]], *, posting_date: dt.date, now: dt.datetime
    ) -> dict[int, int]:
        """Carry over the remainders of persons, each under an id of its own; what was carried over (fen) by person."""
        rows = [{"person_id": person_id, "sweep_id": sweep_id} for person_id, sweep_id in items]
        text = msgspec.json.encode(rows).decode()
        found = await self._connection.fetch(SQL["sweep_year"], text, year, posting_date, now)
        return {row["person_id"]: row["rolled_fen"] for row in found}

    async def _read(self, statement: str, *values: object) -> asyncpg.Record:
        """One row from whole tables."""
        async with self._connection.transaction(readonly=True):
            await plan_freely(self._connection)
            row = await self._connection.fetchrow(statement, *values)
        assert row is not None  # noqa: S101 - an aggregate has one row
        return row


def _opened(rows: Sequence[asyncpg.Record]) -> list[Opened]:
    return [Opened(row["outcome"], row["rolled_fen"], row["credited_fen"]) for row in rows]


def _rows(items: Sequence[Opening]) -> str:
    return msgspec.json.encode(
        [{"ord": place, **msgspec.structs.asdict(item)} for place, item in enumerate(items)]
    ).decode()
