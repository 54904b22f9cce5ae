"""Migrations: each once, in order, one transaction each, and history is never rewritten."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from settlement.db.errors import MigrationError
from settlement.db.migrate import migrate

MakeDatabase = Callable[..., Awaitable[str]]


@pytest.fixture
async def dsn(make_database: MakeDatabase) -> str:
    return await make_database(migrated=False)


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n integer);\nINSERT INTO first VALUES (1);\n")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second AS SELECT n + 1 AS n FROM first;\n")
    return tmp_path


async def test_applied_once_in_order_and_recorded(
    connection: asyncpg.Connection[asyncpg.Record], directory: Path
) -> None:
    assert await migrate(connection, directory) == ["0001_first", "0002_second"]
    assert await migrate(connection, directory) == []
    (directory / "0003_third.sql").write_text("INSERT INTO second VALUES (3);")
    assert await migrate(connection, directory) == ["0003_third"]
    assert [row["n"] for row in await connection.fetch("SELECT n FROM second ORDER BY n")] == [2, 3]
    rows = await connection.fetch("SELECT version, name, length(digest) AS size FROM schema_migration ORDER BY version")
    assert [tuple(row) for row in rows] == [(1, "first", 64), (2, "second", 64), (3, "third", 64)]


async def test_a_changed_file_is_refused(connection: asyncpg.Connection[asyncpg.Record], directory: Path) -> None:
    await migrate(connection, directory)
    with (directory / "0001_first.sql").open("a") as file:
        file.write("-- harmless, is it not?\n")
    (directory / "0003_third.sql").write_text("CREATE TABLE third ();")
    with pytest.raises(MigrationError, match="0001_first was applied to the database and has changed"):
        await migrate(connection, directory)
    assert await connection.fetchval("SELECT to_regclass('third')") is None


async def test_a_missing_file_is_refused(connection: asyncpg.Connection[asyncpg.Record], directory: Path) -> None:
    await migrate(connection, directory)
    (directory / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match="0002_second, which this release does not have"):
        await migrate(connection, directory)


async def test_a_renamed_or_reordered_file_is_refused(
    connection: asyncpg.Connection[asyncpg.Record], directory: Path
) -> None:
    await migrate(connection, directory)
    (directory / "0002_second.sql").rename(directory / "0003_second.sql")
    (directory / "0002_between.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="has migration 0002_second where this release has 0002_between"):
        await migrate(connection, directory)


async def test_a_failing_file_is_rolled_back_whole_and_those_before_it_stay(
    connection: asyncpg.Connection[asyncpg.Record], directory: Path
) -> None:
    third = directory / "0003_third.sql"
    third.write_text("CREATE TABLE third ();\nSELECT 1 / 0;\n")
    with pytest.raises(MigrationError, match="0003_third failed and was rolled back: division by zero"):
        await migrate(connection, directory)
    assert await connection.fetchval("SELECT to_regclass('third')") is None
    third.write_text("CREATE TABLE third ();\n")
    assert await migrate(connection, directory) == ["0003_third"]


async def test_a_file_that_ends_its_transaction_is_refused(
    connection: asyncpg.Connection[asyncpg.Record], directory: Path
) -> None:
    (directory / "0003_third.sql").write_text("CREATE TABLE third (); COMMIT; BEGIN; CREATE TABLE fourth ();")
    with pytest.raises(MigrationError, match="0003_third ends its transaction"):
        await migrate(connection, directory)
    assert await connection.fetchval("SELECT max(version) FROM schema_migration") == 2


async def test_many_starters_at_once_apply_everything_once(dsn: str, directory: Path) -> None:
    connections = [await asyncpg.connect(dsn) for _ in range(6)]
    try:
        applied = await asyncio.gather(*(migrate(connection, directory) for connection in connections))
        assert sorted(itertools.chain.from_iterable(applied)) == ["0001_first", "0002_second"]
        assert await connections[0].fetchval("SELECT count(*) FROM first") == 1
    finally:
        for connection in connections:
            await connection.close()


async def test_the_sessions_own_time_limit_is_left_as_it_was(dsn: str, directory: Path) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"statement_timeout": "1234"})
    try:
        (directory / "0003_slow.sql").write_text("SELECT pg_sleep(1.5);")
        assert len(await migrate(connection, directory)) == 3
        assert await connection.fetchval("SHOW statement_timeout") == "1234ms"
    finally:
        await connection.close()


async def test_the_lock_is_free_afterwards(
    dsn: str, connection: asyncpg.Connection[asyncpg.Record], directory: Path
) -> None:
    (directory / "0003_third.sql").write_text("SELECT 1 / 0;")
    with pytest.raises(MigrationError):
        await migrate(connection, directory)
    held = """SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
              WHERE locktype = 'advisory' AND datname = current_database()"""
    assert await connection.fetchval(held) == 0
