"""Reading the chain as it stands, without judging it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg

from settlement.ledger.records import Row
from settlement.ledger.seals.seal import Seal, SealError, seal_of
from settlement.ledger.seals.tables import SQL

_AT_A_TIME = 64


def read_seal(row: Row) -> Seal:
    """A seal from its row. Raises ``SealError`` for a row that is no seal."""
    try:
        return seal_of(row)
    except (ValueError, TypeError) as error:
        raise SealError(f"seal {row['seal_no']} cannot be read ({error}); run `settlement verify`") from error


async def read_seals(pool: asyncpg.Pool, after: int = 0) -> AsyncIterator[Seal]:
    """Every seal with a number above ``after``, in order. Raises ``SealError`` at one that cannot be read."""
    while rows := await pool.fetch(SQL["seals_after"], after, _AT_A_TIME):
        for row in rows:
            yield read_seal(row)
        after = rows[-1]["seal_no"]
