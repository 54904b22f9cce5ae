"""Cases in doubt: the bank legs that are not final, as operators and alarms see them."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

import asyncpg

from settlement.db.queries import load_queries
from settlement.ledger.records import Row

SQL = load_queries("settlement.ledger", "sql/cases.sql")
ALARMS_A_ROUND = 100
"""How many cases are told as old in one look; the next look goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCase:
    """One bank leg that is not final.

    ``saga_id``: of the settlement, or of the reversal or refund (``kind``) of ``settlement_id`` · ``amount_fen``: what
    the bank is asked for or owes · ``reference``, ``trace``, ``transmitted``: fields 37, 11 and 7 of the message, by
    which the bank finds it · ``attempts``: messages and looks so far, the first one included · ``began_at``: when the
    bill or the reversal came. Moments are aware UTC.
    """

    saga_id: uuid.UUID
    kind: str
    leg: str
    settlement_id: uuid.UUID
    institution_id: str
    terminal_id: str
    bank_code: str
    amount_fen: int
    state: str
    verb: str
    cause: str
    response_code: str | None
    reference: str
    trace: str
    transmitted: str
    attempts: int
    next_attempt_at: dt.datetime
    decision: str
    decision_cause: str | None
    deadline_at: dt.datetime
    accepted_at: dt.datetime
    began_at: dt.datetime

    def age_s(self, now: dt.datetime) -> int:
        """Whole seconds since the bill or the reversal came; never negative."""
        return max(0, int((now - self.began_at).total_seconds()))


async def read_open_cases(pool: asyncpg.Pool, began_before: dt.datetime, bank: str | None = None) -> list[OpenCase]:
    """The cases that began at this moment or before, the oldest first; ``bank``: only those of this link."""
    return [_case(row) for row in await pool.fetch(SQL["open_cases"], began_before, bank)]


async def count_open_cases(pool: asyncpg.Pool, now: dt.datetime, old_before: dt.datetime) -> list[Row]:
    """By ``leg`` and ``bank_code``: ``legs`` open, how many are ``old``, and the oldest's age ``oldest_s``."""
    return list(await pool.fetch(SQL["count_open_cases"], now, old_before))


async def raise_case_alarms(pool: asyncpg.Pool, now: dt.datetime, old_before: dt.datetime) -> list[OpenCase]:
    """The cases that have become old since the last look of any process: each is given once, and never again."""
    return [_case(row) for row in await pool.fetch(SQL["raise_case_alarms"], now, old_before, ALARMS_A_ROUND)]


def _case(row: Row) -> OpenCase:
    return OpenCase(**{name: row[name] for name in OpenCase.__slots__})
