"""A proxy before PostgreSQL that reads the protocol and breaks a connection exactly at the statement a test names."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

When = Literal["before", "sent", "answered", "hold"]
"""``before``: the statement never reaches the server · ``sent``: the client loses the connection when all of it is on
its way, and the server carries it out · ``answered``: when the server has committed and answered · ``hold``: the answer
is kept back until ``released``."""

_HEADER = 5


@dataclass(slots=True)
class Cut:
    """One planned cut; ``reached`` once the statement came by, ``committed`` once the server has answered it."""

    statement: str
    when: When
    taken: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class CommitProxy:
    """Carries connections from ``dsn`` to the server behind ``upstream``; see ``cut``."""

    def __init__(self, upstream: str) -> None:
        self._parts = urlsplit(upstream)
        self._cuts: list[Cut] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._address = ("127.0.0.1", 0)
        self.dsn = ""

    def cut(self, statement: str, when: When) -> Cut:
        """Break the next connection on which a statement with this text is executed."""
        planned = Cut(statement, when)
        self._cuts.append(planned)
        return planned

    def take(self, sql: str) -> Cut | None:
        """The cut that this statement meets, if any; each is met once."""
        for each in self._cuts:
            if not each.taken and each.statement in sql:
                each.taken = True
                return each
        return None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server, by TCP or by its socket."""
        query = parse_qs(self._parts.query)
        host = query.get("host", [self._parts.hostname or "localhost"])[0]
        port = int(query.get("port", [str(self._parts.port or 5432)])[0])
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                upstream_reader, upstream_writer = await self.connect()
                try:
                    await _Carrier(self, (reader, writer), (upstream_reader, upstream_writer)).run()
                finally:
                    upstream_writer.transport.abort()
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def open(self) -> None:
        """Take connections; the same address again after ``close``."""
        listening = socket.create_server(self._address)
        self._address = listening.getsockname()
        self._server = await asyncio.start_server(self.serve, sock=listening)
        userinfo = self._parts.netloc.rpartition("@")[0]
        netloc = f"{userinfo}@{self._address[0]}:{self._address[1]}"
        self.dsn = urlunsplit(self._parts._replace(netloc=netloc, query="sslmode=disable"))

    async def close(self) -> None:
        """End every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()


class _Carrier:
    """One connection in both directions. Statements are known by the name under which they were prepared."""

    def __init__(
        self,
        proxy: CommitProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        self._prepared: dict[bytes, str] = {}
        self._cut: Cut | None = None

    async def run(self) -> None:
        back = asyncio.create_task(self._answers())
        forth = asyncio.create_task(self._statements())
        try:
            await asyncio.wait({back, forth}, return_when=asyncio.FIRST_COMPLETED)
            if self._cut is not None and self._cut.when == "sent":
                await back  # the client has gone; the server is heard to its end
        finally:
            for task in (back, forth):
                task.cancel()
            await asyncio.gather(back, forth, return_exceptions=True)

    async def _startup(self) -> None:
        length = await self._client_reader.readexactly(4)
        self._server_writer.write(length + await self._client_reader.readexactly(int.from_bytes(length, "big") - 4))

    async def _statements(self) -> None:
        """From the client to the server."""
        await self._startup()
        while True:
            kind, frame = await _frame(self._client_reader)
            parts = frame[_HEADER:].split(b"\0", 2)
            if kind == b"P":
                self._prepared[parts[0]] = parts[1].decode()
            elif kind == b"B":
                self._cut = self._cut or self._proxy.take(self._prepared.get(parts[1], ""))
                if self._cut is not None and self._cut.when == "before":
                    self._cut.reached.set()
                    self._client_writer.transport.abort()
                    self._server_writer.transport.abort()
                    return
            self._server_writer.write(frame)
            if kind == b"S" and self._cut is not None and not self._cut.reached.is_set():
                await self._server_writer.drain()
                self._cut.reached.set()
                if self._cut.when == "sent":
                    self._client_writer.transport.abort()

    async def _answers(self) -> None:
        """From the server to the client."""
        kept = b""
        while True:
            kind, frame = await _frame(self._server_reader)
            cut = self._cut
            if cut is None or cut.committed.is_set():
                self._client_writer.write(frame)
                continue
            kept += frame
            if kind != b"Z" or not cut.reached.is_set():
                continue
            cut.committed.set()
            if cut.when != "hold":
                self._client_writer.transport.abort()
                self._server_writer.transport.abort()
                return
            await cut.released.wait()
            self._client_writer.write(kept)


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    header = await reader.readexactly(_HEADER)
    body = await reader.readexactly(int.from_bytes(header[1:], "big") - 4)
    return header[:1], header + body


@contextlib.asynccontextmanager
async def commit_proxy(upstream: str) -> AsyncIterator[CommitProxy]:
    """A proxy before the server of this DSN."""
    proxy = CommitProxy(upstream)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
