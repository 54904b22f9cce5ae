"""The proof: every invariant of the ledger as one query that lists what breaks it, all on one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg

from settlement.db.pool import plan_freely
from settlement.db.queries import load_queries
from settlement.ledger.records import Row

SQL = load_queries("settlement.ledger", "sql/verify.sql")
_DATA = frozenset({"counts", "bank_legs"})
INVARIANTS = tuple(name for name in SQL if name not in _DATA)
"""The names of all checks, in the order in which they run."""


async def read_bank_legs(pool: asyncpg.Pool) -> list[Row]:
    """Every bank leg as it stands now, with what the banks' books must show for it."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await plan_freely(connection)
        return list(await connection.fetch(SQL["bank_legs"]))


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be: which invariant, and where."""

    invariant: str
    finding: str


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What ``verify_ledger`` saw. ``counts``: rows looked at, legs not final; ``bank_legs``: for the banks' books."""

    violations: list[Violation]
    counts: Mapping[str, int]
    bank_legs: list[Row] = field(repr=False)


async def verify_ledger(pool: asyncpg.Pool) -> LedgerReport:
    """Check every invariant on one snapshot; changes nothing. Up to 50 findings are listed for each."""
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute("set local statement_timeout = 0")
        await plan_freely(connection)
        violations = [
            Violation(name, row["finding"]) for name in INVARIANTS for row in await connection.fetch(SQL[name])
        ]
        counts = await connection.fetchrow(SQL["counts"])
        bank_legs = await connection.fetch(SQL["bank_legs"])
    assert counts is not None  # noqa: S101 - an aggregate always gives one row
    return LedgerReport(violations, dict(counts), list(bank_legs))
