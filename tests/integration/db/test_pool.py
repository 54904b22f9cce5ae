"""The pool: what it sets up on each connection, and the servers that it refuses."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from settlement.config import Settings
from settlement.db import pool as pool_module
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.errors import DatabaseError, DatabaseNotDurable, DatabaseTooOld, DatabaseUnreachable
from settlement.db.placement import find_placement
from settlement.db.pool import address, create_pool, durability_report
from settlement.db.server import database_server
from tests.support.database import database_name, with_database

MakeDatabase = Callable[..., Awaitable[str]]


@pytest.fixture
async def dsn(make_database: MakeDatabase) -> str:
    return await make_database(migrated=False)


def settings(url: str | None, *, allow_weak_durability: bool = False) -> Settings:
    return Settings(database_url=url, db_pool_min=1, db_pool_max=2, allow_weak_durability=allow_weak_durability)


async def test_connections_speak_utc_and_map_json(dsn: str) -> None:
    async with await create_pool(settings(dsn)) as pool, pool.acquire() as connection:
        value = {"name": "张三", "list": [1, None, True], "fen": 9_007_199_254_740_993}
        assert await connection.fetchval("SELECT $1::jsonb", value) == value
        assert await connection.fetchval("SELECT $1::json", value) == value
        assert await connection.fetchval("SELECT ($1::jsonb)->>'name'", value) == "张三"
        assert await connection.fetchval("SHOW timezone") == "UTC"
        assert await connection.fetchval("SHOW application_name") == "settlement"
        assert await connection.fetchval("SHOW statement_timeout") == "1min"
        now = await connection.fetchval("SELECT now()")
        assert now.utcoffset() == dt.timedelta(0)


async def test_nothing_listening_is_said_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        url = f"postgresql://me:hunter2@127.0.0.1:{port}/bills"
        with pytest.raises(DatabaseUnreachable, match=f"127.0.0.1:{port}/bills") as refused:
            await create_pool(settings(url))
    assert "hunter2" not in str(refused.value)


async def test_wrong_password_and_unknown_database_are_said(dsn: str, database_url: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="does not exist"):
        await create_pool(settings(with_database(database_url, "no_such_database")))
    user, _, rest = dsn.removeprefix("postgresql://").partition("@")
    name = user.partition(":")[0]
    wrong = f"postgresql://{name}:wrong-password@{rest}"
    with pytest.raises(DatabaseUnreachable, match="password authentication failed") as refused:
        await create_pool(settings(wrong))
    assert "wrong-password" not in str(refused.value)


async def test_an_unreadable_address_is_said_without_showing_it() -> None:
    with pytest.raises(DatabaseUnreachable, match="not an address") as refused:
        await create_pool(settings("postgresql://me:hunter2@host:port/db"))
    assert "hunter2" not in str(refused.value)


async def test_no_address_is_an_error_of_its_own() -> None:
    with pytest.raises(DatabaseError, match="SETTLEMENT_DATABASE_URL"):
        await create_pool(settings(None))


async def test_an_old_server_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "OLDEST_MAJOR", 99)
    with pytest.raises(DatabaseTooOld, match="99 or newer"):
        await create_pool(settings(dsn))


@pytest.mark.parametrize("weak", ["off", "local", "remote_write"])
async def test_weak_commits_are_refused_or_reported(dsn: str, weak: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'ALTER DATABASE "{database_name(dsn)}" SET synchronous_commit = {weak}')
    finally:
        await connection.close()
    with pytest.raises(DatabaseNotDurable, match=f"synchronous_commit is {weak}"):
        await create_pool(settings(dsn))
    async with await create_pool(settings(dsn, allow_weak_durability=True)) as pool, pool.acquire() as accepted:
        assert await durability_report(accepted) == [f"synchronous_commit is {weak}, expected on or remote_apply"]


async def test_stronger_commits_are_welcome(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'ALTER DATABASE "{database_name(dsn)}" SET synchronous_commit = remote_apply')
    finally:
        await connection.close()
    async with await create_pool(settings(dsn)) as pool, pool.acquire() as accepted:
        assert await durability_report(accepted) == []


async def test_a_server_that_does_not_flush_is_refused(open_tmp_path: Path) -> None:
    server = EmbeddedPostgres(open_tmp_path / "data")
    try:
        server.start()
        server.stop()
        with (find_placement(open_tmp_path / "data").pgdata / "postgresql.conf").open("a") as file:
            file.write("fsync = off\nfull_page_writes = off\n")
        with pytest.raises(DatabaseNotDurable, match="fsync is off, expected on; full_page_writes is off"):
            await create_pool(settings(server.start()))
    finally:
        server.stop()
        server.remove()


def test_the_configured_server_is_used_and_otherwise_an_embedded_one(open_tmp_path: Path) -> None:
    given = Settings(database_url="postgresql://host/db")
    with database_server(given) as used:
        assert used is given
    try:
        with database_server(Settings(data_dir=open_tmp_path / "data")) as used:
            assert used.database_url is not None
            assert used.database_url.startswith("postgresql://settlement:")
    finally:
        assert EmbeddedPostgres(open_tmp_path / "data").remove()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@db.example:6432/bills", "db.example:6432/bills"),
        ("postgresql://me:pw@/bills?host=/run/pg&port=5433", "/run/pg:5433/bills"),
        ("postgresql:///bills", "localhost:5432/bills"),
        ("postgresql://me:pw@host:x/bills", "(an address that cannot be read)"),
    ],
)
def test_addresses_are_shown_without_user_and_password(url: str, shown: str) -> None:
    assert address(url) == shown
