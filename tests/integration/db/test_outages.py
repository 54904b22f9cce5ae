"""What counts as an outage: errors of a connection that the server has given up, as the driver really raises them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from settlement.db.outages import OUTAGES

PATIENCE_S = 10.0


async def dial(dsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(dsn)
    folder = parse_qs(parts.query).get("host")
    if folder:
        return await asyncio.open_unix_connection(f"{folder[0]}/.s.PGSQL.5432")
    return await asyncio.open_connection(parts.hostname, parts.port or 5_432)


@contextlib.asynccontextmanager
async def line_without_end(dsn: str) -> AsyncIterator[int]:
    """A port behind which the database is, and on which its last words come through, but not that it has hung up."""
    held = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await dial(dsn)
        held.extend((writer, their_writer))
        await asyncio.gather(pump(reader, their_writer), pump(their_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.close()


async def until_it_fails(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await connection.fetchval("select 1")


async def test_a_connection_that_has_heard_its_end_but_not_seen_it_is_an_outage(
    make_database: Callable[..., Awaitable[str]],
) -> None:
    dsn = await make_database(migrated=False)
    async with line_without_end(dsn) as port:
        ours = await asyncpg.connect(dsn, host="127.0.0.1", port=port, ssl=False)
        operator = await asyncpg.connect(dsn)
        try:
            await operator.execute("select pg_terminate_backend($1, $2)", ours.get_server_pid(), 5_000)
            with pytest.raises(OUTAGES) as caught:
                await until_it_fails(ours)
            assert not isinstance(caught.value, TimeoutError)
        finally:
            ours.terminate()
            await operator.close()
