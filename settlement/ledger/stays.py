"""The ledger's calls for inpatient stays: admission, fees in batches, taking them back, and what is open of a stay."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg
import msgspec

from settlement.db.queries import load_queries
from settlement.ledger.records import Row
from terminal_sdk.wire import StayLine, StayType

SQL = load_queries("settlement.ledger", "sql/stays.sql")

StayOutcome = Literal[
    "admitted",
    "uploaded",
    "withdrawn",
    "cancelled_now",
    "known",
    "key_reused",
    "number_used",
    "cancelled",
    "discharged",
    "line_used",
    "batch_unknown",
    "settled",
    "not_empty",
]


@dataclass(frozen=True, slots=True)
class StayVerdict:
    """What became of a call. ``stay_id``: what stands for it · ``batch_no``, ``line_no``: where it is about one."""

    outcome: StayOutcome
    stay_id: uuid.UUID
    batch_no: int | None
    line_no: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StayCall:
    """By whom and under which key something is asked of a stay. ``today``: the open business date."""

    person_id: int
    stay_id: uuid.UUID
    institution_id: str
    idempotency_key: str
    body_digest: bytes
    today: dt.date
    now: dt.datetime
    key_expires_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A stay as it began. ``version`` rises with whatever changes it."""

    person_id: int
    stay_id: uuid.UUID
    institution_id: str
    stay_no: str
    visit_type: StayType
    card_id: int
    admitted_on: dt.date
    admitted_at: dt.datetime
    cancelled_at: dt.datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class OpenStay:
    """A stay with what is to be settled of it, of one snapshot."""

    stay: Admission
    lines: list[StayLine]
    deposit_left_fen: int


class StayBook:
    """Stays in the ledger. Each change is one SQL function under the person's lock."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def admit(
        self,
        call: StayCall,
        *,
        terminal_id: str,
        stay_no: str,
        visit_type: StayType,
        card_id: int,
        admitted_on: dt.date,
    ) -> StayVerdict:
        """Open a stay under the call's new id."""
        row = await self._pool.fetchrow(
            SQL["admit"],
            call.person_id,
            call.stay_id,
            call.institution_id,
            terminal_id,
            stay_no,
            visit_type,
            card_id,
            admitted_on,
            *_key(call),
        )
        return _verdict(row)

    async def upload(self, call: StayCall, lines: Sequence[StayLine]) -> StayVerdict:
        """Add a batch of fees."""
        body = msgspec.json.encode(lines).decode()
        row = await self._pool.fetchrow(SQL["upload"], *_place(call), *_key(call)[:2], body, *_key(call)[2:])
        return _verdict(row)

    async def withdraw(self, call: StayCall, batch_no: int) -> StayVerdict:
        """Take a batch of fees back that nothing was settled of."""
        row = await self._pool.fetchrow(SQL["withdraw"], *_place(call), *_key(call)[:2], batch_no, *_key(call)[2:])
        return _verdict(row)

    async def cancel(self, call: StayCall) -> StayVerdict:
        """Take an admission back, of which no fees and no settlement stand."""
        return _verdict(await self._pool.fetchrow(SQL["cancel"], *_place(call), *_key(call)))

    async def find(self, institution_id: str, stay_id: uuid.UUID) -> Admission | None:
        """A stay of this institution, or None."""
        row = await self._pool.fetchrow(SQL["find"], institution_id, stay_id)
        return None if row is None else Admission(**dict(row))

    async def open_lines(self, stay: Admission, through: dt.date | None) -> OpenStay:
        """What is to be settled of a stay, up to a service date (None: all)."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            fresh = await connection.fetchrow(SQL["find"], stay.institution_id, stay.stay_id)
            rows = await connection.fetch(SQL["open_lines"], stay.person_id, stay.stay_id, through)
            deposits = await connection.fetchrow(SQL["deposits"], stay.person_id, stay.stay_id)
        assert fresh is not None  # noqa: S101 - stays are never removed
        assert deposits is not None  # noqa: S101 - one row always
        lines = [StayLine(**dict(row)) for row in rows]
        return OpenStay(Admission(**dict(fresh)), lines, deposits["left_fen"])

    async def deposits(self, stay: Admission) -> Row:
        """``asked``: how many deposits of a stay were ever held, those that did not come to stand included ·
        ``discharged``: whether the final settlement is open or stands.
        """
        return await self._pool.fetchrow(SQL["deposits"], stay.person_id, stay.stay_id)

    async def summary(self, stay: Admission) -> Row:
        """Batches, sums and settlements of a stay."""
        return await self._pool.fetchrow(SQL["summary"], stay.person_id, stay.stay_id)


def _place(call: StayCall) -> tuple[int, uuid.UUID, str]:
    return call.person_id, call.stay_id, call.institution_id


def _key(call: StayCall) -> tuple[str, bytes, dt.date, dt.datetime, dt.datetime]:
    return call.idempotency_key, call.body_digest, call.today, call.now, call.key_expires_at


def _verdict(row: Row) -> StayVerdict:
    return StayVerdict(row["outcome"], row["stay_id"], row["batch_no"], row["line_no"])
