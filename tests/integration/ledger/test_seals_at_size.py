"""Seals over very many rows: memory stays where it is, and the one changed row is named."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.seals.checking import verify_seals
from settlement.ledger.seals.sealing import Sealer
from settlement.security.seal_key import create_seal_key, load_seal_key, own_seal_certificates
from tests.support.ledger_world import LedgerWorld
from tests.support.tampering import disarm, tamper

ROWS = 100_000
"""In each of two seals."""
MEMORY_MAX_BYTES = 16 * 1_048_576
CREDITS = """insert into account_credit
             select $1, gen_random_uuid(), 'current_year', n, 'yearly', now() from generate_series(1, $2::int) n"""


@pytest.mark.deep
async def test_many_rows_need_no_more_memory(make_database: Callable[[], Awaitable[str]], tmp_path: Path) -> None:
    pool = await create_pool(Settings(database_url=await make_database(), db_statement_timeout_ms=600_000))
    books = LedgerWorld(pool)
    await books.prepare()
    await disarm(pool)
    person = await books.person()
    create_seal_key(tmp_path, SystemClock())
    sealer = Sealer(pool, load_seal_key(tmp_path), SystemClock())
    trusted = own_seal_certificates(tmp_path)
    tracemalloc.start()
    try:
        for seal_no in (1, 2):
            await pool.execute(CREDITS, person, ROWS)
            made = await sealer.seal()
            assert made is not None
            assert (made.statement.seal_no, made.statement.rows) == (seal_no, ROWS)
        report = await verify_seals(pool, trusted)
        assert (report.violations, report.sealed_rows, report.unsealed_rows) == ([], 2 * ROWS, 0)
        await tamper(
            pool,
            "account_credit",
            """update account_credit set amount_fen = amount_fen + 1
               where credit_id = (select credit_id from account_credit order by credit_id offset 23456 limit 1)""",
        )
        (finding,) = (await verify_seals(pool, trusted)).violations
        assert "was changed after seal" in finding.finding
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX_BYTES
    finally:
        tracemalloc.stop()
    await pool.close()
