"""Fixtures for every test: a database server for the session, a fresh migrated database for each test that asks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.database import TestDatabases, open_folder, session_server, temporary_databases


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The address of the session's server: embedded, or the one of SETTLEMENT_TEST_DATABASE_URL."""
    with session_server() as url:
        yield url


@pytest.fixture(scope="session")
async def database(database_url: str) -> AsyncIterator[TestDatabases]:
    """The session's databases: ``await database.create()`` gives the DSN of a fresh one."""
    async with temporary_databases(database_url) as databases:
        yield databases


@pytest.fixture
async def make_database(database: TestDatabases) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """``await make_database()`` → DSN of a fresh migrated database (``migrated=False``: empty), dropped afterwards."""
    async with contextlib.AsyncExitStack() as dropped:

        async def make(*, migrated: bool = True) -> str:
            dsn = await database.create(migrated=migrated)
            dropped.push_async_callback(database.drop, dsn)
            return dsn

        yield make


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """Like ``tmp_path``, for an embedded server of the test's own; remove that server before the test ends."""
    with open_folder() as folder:
        yield folder
