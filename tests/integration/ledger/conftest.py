"""A ledger over a fresh database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.verify import verify_ledger
from tests.support.ledger_world import LedgerWorld


@pytest.fixture
async def world(make_database: Callable[[], Awaitable[str]]) -> AsyncIterator[LedgerWorld]:
    """A world whose books are verified when the test is over."""
    pool = await create_pool(Settings(database_url=await make_database()))
    world = LedgerWorld(pool)
    await world.prepare()
    yield world
    report = await verify_ledger(pool)
    await pool.close()
    assert report.violations == []
