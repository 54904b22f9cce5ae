"""A world of terminals over a database of their own, emptied before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from settlement.db.pool import create_pool
from tests.support.database import TestDatabases
from tests.support.terminals import TerminalWorld, settings_for


@pytest.fixture(scope="package")
async def terminals_dsn(database: TestDatabases) -> AsyncIterator[str]:
    dsn = await database.create()
    yield dsn
    await database.drop(dsn)


@pytest.fixture
async def world(terminals_dsn: str) -> AsyncIterator[TerminalWorld]:
    settings = settings_for(terminals_dsn)
    pool = await create_pool(settings)
    try:
        made = TerminalWorld(pool, settings)
        await made.prepare()
        yield made
    finally:
        await pool.close()
