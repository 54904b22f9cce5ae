"""The sending half of a bank's connection: answers, and what a fault makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from settlement.stubs.bankhost.replies import SILENT, strays, to_frames
from settlement.stubs.bankhost.wire import FaultSpec

_BUFFER_MOST_BYTES = 4 << 20
_TRICKLE_PAUSE_MS = 1
_HELD_MOST_MS = 1_000
_STALL_MOST_MS = 60_000


class Sender:
    """Writes to one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._held: list[bytes] = []
        self._mute = False

    def pause(self) -> None:
        """The service takes nothing more for now."""
        self._may_write.clear()

    def resume(self) -> None:
        """It takes bytes again; also when the connection has gone, so that nobody waits for ever."""
        self._may_write.set()

    def write(self, data: bytes) -> None:
        """Write at once; a service that takes no bytes at all loses the connection."""
        if self._mute or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _BUFFER_MOST_BYTES:
            self._transport.abort()
            return
        self._transport.write(data)

    async def answer(self, fields: Mapping[str, str], mac_key: bytes, fault: FaultSpec | None) -> None:
        """Send an answer as the fault has it."""
        action = None if fault is None else fault.action
        if fault is not None and action == "delay_ms" and fault.when != "before_commit":
            await asyncio.sleep(fault.delay_ms / 1_000)
        if action == "close":
            self._transport.abort()
        elif action == "flood":
            await self._flood(strays(fields, mac_key, 1 << 20))
        elif fault is not None and action == "stall_reading":
            self._stall(fault.delay_ms or _STALL_MOST_MS)
        if action in SILENT:
            return
        pieces = to_frames(fields, mac_key, fault)
        if fault is not None and action == "out_of_order":
            self._hold(pieces, fault.delay_ms or _HELD_MOST_MS)
        else:
            pause_ms = fault.delay_ms if fault is not None and action == "trickle" else 0
            await self._write_pieces(pieces, (pause_ms or _TRICKLE_PAUSE_MS) / 1_000)
            self._release()

    async def _write_pieces(self, pieces: Sequence[bytes], pause_s: float) -> None:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(pause_s)
            self.write(piece)

    async def _flood(self, frames: Sequence[bytes]) -> None:
        """As fast as the service takes them, until the connection ends."""
        data = b"".join(frames)
        while not self._transport.is_closing():
            self.write(data)
            await asyncio.sleep(0)
            await self._may_write.wait()

    def _hold(self, pieces: Sequence[bytes], most_ms: int) -> None:
        """Keep an answer back until another one has overtaken it, or its time is over."""
        self._held += pieces
        self._loop.call_later(most_ms / 1_000, self._release)

    def _release(self) -> None:
        held, self._held = self._held, []
        for piece in held:
            self.write(piece)

    def _stall(self, most_ms: int) -> None:
        """Read nothing and say nothing more, for so long."""
        self._mute = True
        self._transport.pause_reading()
        self._loop.call_later(most_ms / 1_000, self._wake_up)

    def _wake_up(self) -> None:
        self._mute = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
