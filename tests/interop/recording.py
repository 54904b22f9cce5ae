"""A wire that listens: a TCP relay between service and bank host that keeps every frame of both directions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Literal

Direction = Literal["to_bank", "from_bank"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it went over the wire: ``data`` is the two bytes of length and the body."""

    bank: str
    connection: int
    direction: Direction
    data: bytes


@dataclass(slots=True)
class Wire:
    """What was heard, in the order in which it came by."""

    frames: list[Frame] = field(default_factory=list)
    _connections: count[int] = field(default_factory=count)
    _joined: set[asyncio.Task[None]] = field(default_factory=set)

    async def join(self, bank: str, port: int, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Carry one connection to the bank's real port, until one of its ends is closed."""
        far, out = await asyncio.open_connection("127.0.0.1", port)
        number = next(self._connections)
        carriers = {
            asyncio.create_task(self._carry(bank, number, "to_bank", near, out)),
            asyncio.create_task(self._carry(bank, number, "from_bank", far, back)),
        }
        self._joined |= carriers
        try:
            await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._joined -= carriers
            for carrier in carriers:
                carrier.cancel()
            out.close()
            back.close()

    def part(self) -> None:
        """End every connection."""
        for carrier in self._joined:
            carrier.cancel()

    async def _carry(
        self, bank: str, number: int, direction: Direction, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        """Pass whole frames on; each is kept before it is passed, so that an answer never precedes its request."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = await source.readexactly(2)
                data = length + await source.readexactly(int.from_bytes(length, "big"))
                self.frames.append(Frame(bank, number, direction, data))
                target.write(data)
                await target.drain()


@contextlib.asynccontextmanager
async def listening(ports: dict[str, int]) -> AsyncIterator[tuple[Wire, dict[str, int]]]:
    """Listen on a free port for each bank; gives what is heard and the ports to speak to."""
    wire = Wire()
    async with contextlib.AsyncExitStack() as stack:
        own: dict[str, int] = {}
        for bank, port in ports.items():
            server = await asyncio.start_server(partial(wire.join, bank, port), "127.0.0.1", 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            own[bank] = server.sockets[0].getsockname()[1]
        stack.callback(wire.part)
        yield wire, own
