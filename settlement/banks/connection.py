"""One TCP connection to a bank: whole bodies in, frames out, and certainty about what was handed to the socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from settlement.banks.iso.framing import FrameError, FrameSplitter, frame
from settlement.clock import Clock


class Outgoing:
    """A frame on its way to the socket. ``written`` turns true just before its first byte may leave the process."""

    __slots__ = ("body", "cancelled", "on_refused", "send_before", "written")

    def __init__(self, body: bytes, send_before: float | None, on_refused: Callable[[str], None]) -> None:
        self.body = body
        self.send_before = send_before
        self.on_refused = on_refused
        self.written = False
        self.cancelled = False


class Connection(asyncio.Protocol):
    """Frames over one socket.

    Nothing waits in the transport's own buffer: while the peer does not take bytes, frames stay in ``_outbox``, where
    ``send_before`` still counts. So a frame is judged right before the write, however long it stood in line.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        frame_timeout_s: float,
        on_body: Callable[[bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._frame_timeout_s = frame_timeout_s
        self._on_body = on_body
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._splitter = FrameSplitter()
        self._outbox: deque[Outgoing] = deque()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._flush_due = False
        self._slow: asyncio.TimerHandle | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)

    def send(self, outgoing: Outgoing) -> None:
        """Queue a frame; it is written in the next turn of the event loop, or when the peer takes bytes again."""
        if self.lost or self._transport is None or self._transport.is_closing():
            outgoing.on_refused("closed")
            return
        self._outbox.append(outgoing)
        self._schedule_flush()

    def close(self, reason: str = "closed") -> None:
        """Give the connection up at once; ``reason`` is told to whoever still waits on it."""
        if self._transport is not None:
            self._transport.abort()
        self._finish(reason)

    def pause_writing(self) -> None:
        """The peer takes nothing more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer takes bytes again."""
        self._paused = False
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if self._outbox and not self._paused and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._paused or self.lost or self._transport is None or self._transport.is_closing():
            return
        # One write each: what the kernel does not take at once must not carry the frames behind it along.
        while self._outbox and not self._paused and not self._transport.is_closing():
            outgoing = self._outbox.popleft()
            if outgoing.cancelled:
                continue
            if outgoing.send_before is not None and self._clock.monotonic() >= outgoing.send_before:
                outgoing.on_refused("lease_over")
                continue
            outgoing.written = True
            self._transport.write(frame(outgoing.body))

    def data_received(self, data: bytes) -> None:
        """Bytes came. A frame that is out of bounds, or takes too long, ends the connection."""
        try:
            bodies = self._splitter.feed(data)
        except FrameError:
            self.close("garbage")
            return
        if bodies or not self._splitter.partial:
            self._stop_watch()
        if self._splitter.partial and self._slow is None:
            self._slow = self._loop.call_later(self._frame_timeout_s, self.close, "slow_frame")
        for body in bodies:
            if self.lost:
                return
            self._on_body(body)

    def _stop_watch(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._finish("closed")

    def _finish(self, reason: str) -> None:
        """Once: what was not written is refused, then the owner is told."""
        if self.lost:
            return
        self.lost = True
        self._stop_watch()
        waiting, self._outbox = self._outbox, deque()
        for outgoing in waiting:
            if not outgoing.cancelled:
                outgoing.on_refused(reason)
        self._on_lost(reason)
