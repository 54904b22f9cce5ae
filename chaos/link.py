"""A link that can fail: a TCP proxy between two partners that cuts, stalls, drops half-way, refuses, or turns deaf."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Fault = Literal["cut", "stall", "half", "refuse", "deaf", "late"]
Address = tuple[str, int] | Path
"""Host and port, or the path of a Unix socket."""

_CHUNK_BYTES = 65_536
_BACKLOG = 512
_CONNECT_S = 3.0
_GATHER_S = 1.0
_RESET_AT_ONCE = struct.pack("ii", 1, 0)


class Link:
    """Listens on a port of this machine and passes everything on to one of the ``upstreams``, tried in turn.

    ``delay_ms``: how far off the other end is, each way. Use it as ``async with Link(...)``. Faults, until ``mend``:

    - ``cut``: every connection is reset, once; new ones work.
    - ``refuse``: every connection is reset, and new ones are refused.
    - ``stall``: nothing is passed on, either way; afterwards it goes on where it was, so everything comes late.
    - ``half``: of the next piece on each connection the first half is passed on, then the connection is reset.
    - ``deaf``: what the upstream side says is lost; the connections that lost something are reset by ``mend``.
    - ``late``: for a second what comes from the near side is held back, then its connections are reset; what was held
      arrives at ``mend``, when whoever sent it has long asked again over a new connection.
    """

    def __init__(self, name: str, upstreams: Callable[[], Sequence[Address]], *, delay_ms: int = 0) -> None:
        self.name = name
        self.severed = 0
        """How many connections were broken off by faults."""
        self._upstreams = upstreams
        self._delay_s = delay_ms / 1_000
        self._turn = itertools.count()
        self._fault: Fault | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        # A socket that is bound and never listens keeps the port ours while connections to it are refused.
        self._claim = _bound(0)
        self.port: int = self._claim.getsockname()[1]
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        await self._stop_listening()
        self._flowing.set()
        for pair in [*self._pairs]:
            pair.let_go.set()
            pair.reset()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_CONNECT_S)
        self._claim.close()

    async def fail(self, fault: Fault) -> None:
        """Begin a fault; the one before, if any, is mended first."""
        await self.mend()
        if fault in {"cut", "refuse"}:
            if fault == "refuse":
                await self._stop_listening()
            self._sever(self._pairs)
        if fault == "stall":
            self._flowing.clear()
        self._fault = None if fault == "cut" else fault
        if fault == "late":
            await self._hold_back()

    async def mend(self) -> None:
        """End the fault."""
        fault, self._fault = self._fault, None
        self._flowing.set()
        if fault == "deaf":
            self._sever(pair for pair in self._pairs if pair.lost_bytes)
        if fault == "refuse":
            await self._listen()
        for pair in self._pairs:
            pair.let_go.set()

    async def _hold_back(self) -> None:
        late = [*self._pairs]
        for pair in late:
            pair.hold()
        await asyncio.sleep(_GATHER_S)
        for pair in late:
            self.severed += 1
            pair.leave_near_side()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=_bound(self.port), backlog=_BACKLOG)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)  # the loop closes the socket in its next round

    def _sever(self, pairs: Iterable[_Pair]) -> None:
        for pair in [*pairs]:
            self.severed += 1
            pair.reset()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=f"link {self.name}")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        try:
            up_reader, up_writer = await self._connect()
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, up_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(pair, reader, up_writer, back=False))
                pumps.create_task(self._pump(pair, up_reader, writer, back=True))
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the next upstream that takes us. Raises ``OSError``."""
        upstreams = self._upstreams()
        first = next(self._turn)
        for number in range(len(upstreams)):
            upstream = upstreams[(first + number) % len(upstreams)]
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    if isinstance(upstream, Path):
                        return await asyncio.open_unix_connection(upstream)
                    return await asyncio.open_connection(*upstream)
        raise ConnectionRefusedError(f"nobody answers behind the link {self.name}")

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool
    ) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._flowing.wait()
                if self._fault == "half":
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    self._sever([pair])
                    return
                if self._fault == "deaf" and back:
                    pair.lost_bytes = True
                elif pair.held is not None and not back:
                    pair.held.append(data)
                elif not (back and pair.near_side_left):
                    writer.write(data)
                    await writer.drain()
            await self._flowing.wait()
            if pair.held is not None and not back:
                await pair.let_go.wait()
                writer.writelines(pair.held)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            pair.reset()


class _Pair:
    """The two connections that belong together: to the near side, which dialled, and to the upstream one.

    ``held``: what the near side sent and is to arrive when it is ``let_go``; None: nothing is held back.
    """

    def __init__(self, near: asyncio.StreamWriter, upstream: asyncio.StreamWriter) -> None:
        self._near = near
        self._writers = (near, upstream)
        self.lost_bytes = False
        self.held: list[bytes] | None = None
        self.let_go = asyncio.Event()
        self.near_side_left = False

    def hold(self) -> None:
        self.held = []
        self.let_go.clear()

    def leave_near_side(self) -> None:
        self.near_side_left = True
        _reset(self._near)

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break off as a crashed machine or a firewall does: the other side gets a reset, not an orderly end."""
    # A transport that has closed meanwhile has no socket (asyncio), or one without a number (uvloop).
    with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    writer.transport.abort()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", port))
    return sock
