"""Fixtures for every test: a database server for the session, a fresh migrated database for each test that asks."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

from tests.support.database import TestDatabases, open_folder, session_server, temporary_databases
from tests.support.service import RunningService, running_service
from tests.support.spreading import Spreading

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the tests start hundreds of processes: each would compile all anew
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading:
    """How ``-n`` spreads the tests."""
    return Spreading(config, log)


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


@pytest.fixture(scope="session")
async def service(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """One running service for all tests that do not harm it; its books are verified at the end."""
    async with running_service(await database.create(), tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
async def own_service(make_database: Callable[..., Awaitable[str]], tmp_path: Path) -> AsyncIterator[RunningService]:
    """A running service of the test's own, to be killed at will; its books are verified at the end."""
    async with running_service(await make_database(), tmp_path) as service:
        yield service
