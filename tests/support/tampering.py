"""What a person with the database owner's rights can do: change rows behind the triggers that forbid it."""

from __future__ import annotations

import asyncpg

from settlement.ledger.seals.tables import SEALED_TABLES

GUARDED = [*(table.name for table in SEALED_TABLES), "seal", "seal_leaf"]
_CHILDREN_FIRST = ["seal_leaf", "leg_move", "hold_end", "undo_line", "undo", "account_year_sweep"]
_KEPT_FOR_THE_SAGA = "leg"
"""Its guard numbers the moves; it is put aside for the moment of a change only."""


async def disarm(pool: asyncpg.Pool) -> None:
    """Put the guards aside for good: changes by plain SQL go through from now on."""
    for table in GUARDED:
        if table != _KEPT_FOR_THE_SAGA:
            guard = "settlement_guard" if table == "settlement" else f"{table}_append_only"
            await pool.execute(f"alter table {table} disable trigger {guard}")


async def tamper(pool: asyncpg.Pool, table: str, statement: str, *values: object) -> None:
    """Run a statement on a table of a database that is disarmed; it must change something."""
    async with pool.acquire() as connection, connection.transaction():
        if table == _KEPT_FOR_THE_SAGA:
            await connection.execute("alter table leg disable trigger user")
        done = await connection.execute(statement, *values)
        await connection.execute("set constraints all immediate")
        if table == _KEPT_FOR_THE_SAGA:
            await connection.execute("alter table leg enable trigger user")
    assert int(done.rpartition(" ")[2]) > 0, done


async def clear(pool: asyncpg.Pool) -> None:
    """Remove every sealed row and every seal, so that the next test begins with empty books."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("alter table leg disable trigger user")
        for table in [*_CHILDREN_FIRST, *(each for each in GUARDED if each not in _CHILDREN_FIRST)]:
            await connection.execute(f"delete from {table}")  # noqa: S608 - our own names
        await connection.execute("set constraints all immediate")
        await connection.execute("alter table leg enable trigger user")
