"""The application over a database of its own, emptied before each test; a signed-in terminal; a factory of servers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from settlement.api import Limits
from settlement.db.pool import create_pool
from tests.support.api import Api, running_api
from tests.support.database import TestDatabases
from tests.support.terminals import SignedIn, TerminalWorld, settings_for

Serve = Callable[..., Awaitable[Api]]


@pytest.fixture(scope="package")
async def api_dsn(database: TestDatabases) -> AsyncIterator[str]:
    dsn = await database.create()
    yield dsn
    await database.drop(dsn)


@pytest.fixture
async def world(api_dsn: str) -> AsyncIterator[TerminalWorld]:
    settings = settings_for(api_dsn)
    pool = await create_pool(settings)
    try:
        made = TerminalWorld(pool, settings)
        await made.prepare()
        yield made
    finally:
        await pool.close()


@pytest.fixture
async def serve(world: TerminalWorld) -> AsyncIterator[Serve]:
    """``await serve(limits)`` → a running application."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(limits: Limits | None = None) -> Api:
            return await stack.enter_async_context(running_api(world, limits))

        yield start


@pytest.fixture
async def api(serve: Serve) -> Api:
    return await serve()


@pytest.fixture
async def till(world: TerminalWorld) -> SignedIn:
    return await (await world.till()).sign_in()
