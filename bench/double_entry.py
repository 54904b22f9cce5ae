"""The baseline: double entry as one would write it first, a row at a time, correct and durable, and nothing more.

No cards, no idempotency keys, no two phases, no receipts, no batches: what PostgreSQL gives for the bare transfer of
money.
"""

from __future__ import annotations

import asyncpg

from settlement.db.pool import Connection
from settlement.db.queries import load_queries

SQL = load_queries("bench", "sql/double_entry.sql")
FUND = 0
"""The account that the opening balances come from; it alone may be negative."""


async def make_accounts(pool: asyncpg.Pool, payers: int, payees: int, opening_fen: int) -> tuple[list[int], list[int]]:
    """Make the tables and the accounts of a fresh database; ids of payers, each with so many fen, and of payees."""
    await pool.execute(SQL["tables"])
    payer_ids = list(range(1, payers + 1))
    payee_ids = list(range(payers + 1, payers + payees + 1))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(SQL["open_accounts"], payer_ids, payee_ids, opening_fen)
        await connection.execute(SQL["open_entries"], payer_ids, opening_fen)
    await pool.execute("vacuum analyze account, entry")
    return payer_ids, payee_ids


async def transfer(connection: Connection, payer: int, payee: int, amount_fen: int) -> bool:
    """Move money in one transaction: rows locked in the order of their ids, two entries, two balances.

    False, and nothing has changed, when the payer has too little.
    """
    async with connection.transaction():
        rows = await connection.fetch(SQL["lock_accounts"], [payer, payee])
        balances = {row["id"]: row["balance_fen"] for row in rows}
        if balances[payer] < amount_fen:
            return False
        number = await connection.fetchval(SQL["next_transfer"])
        for account, change_fen in sorted([(payer, -amount_fen), (payee, amount_fen)]):
            await connection.execute(SQL["enter"], number, account, change_fen)
            await connection.execute(SQL["change_balance"], account, change_fen)
    return True


async def check_books(pool: asyncpg.Pool) -> list[str]:
    """What is wrong with the books, one sentence each: entries sum to zero, each transfer too, balances are entries."""
    return [f"{row['finding']}" for row in await pool.fetch(SQL["findings"])]
