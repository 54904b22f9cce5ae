"""One TCP connection to a bank: whole bodies in, frames out, and certainty about what was handed to the socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import cast

from settlement.banks.iso.framing import FrameError, FrameSplitter, frame
from settlement.banks.tuning import LinkTuning
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


class _Watch:
    """Gives the connection up when something lasts too long."""

    __slots__ = ("_give_up", "_seconds", "_timer")

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._seconds = seconds
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """It lasts from now on, unless it did already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up)

    def stop(self) -> None:
        """It is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(asyncio.Protocol):
    """Frames over one socket.

    Nothing waits in the transport's own buffer: while the peer does not take bytes, frames stay in ``_outbox``, where
    ``send_before`` still counts. So a frame is judged right before the write, however long it stood in line.

    A peer that sends without end gets ``frames_per_turn`` of each turn of the event loop and no more; while frames
    wait here nothing is read, so that what has come and is not worked on stays below one read of the socket.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        tuning: LinkTuning,
        on_body: Callable[[bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._tuning = tuning
        self._on_body = on_body
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._splitter = FrameSplitter()
        self._outbox: deque[Outgoing] = deque()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._flush_due = False
        self._slow = _Watch(tuning.frame_timeout_s, partial(self.close, "slow_frame"))
        self._stalled = _Watch(tuning.stall_timeout_s, partial(self.close, "stalled"))
        self._resting = False
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

    def withdraw(self, outgoing: Outgoing) -> None:
        """Nobody waits for this frame any more; if it was not written yet, it never will be."""
        outgoing.cancelled = True
        if not outgoing.written:
            with contextlib.suppress(ValueError):
                self._outbox.remove(outgoing)

    def close(self, reason: str = "closed") -> None:
        """Give the connection up at once; ``reason`` is told to whoever still waits on it."""
        if self._transport is not None:
            self._transport.abort()
        self._finish(reason)

    def pause_writing(self) -> None:
        """The peer takes nothing more for now. If that lasts, what stands in line must not wait for it."""
        self._paused = True
        if not self.lost:
            self._stalled.start()

    def resume_writing(self) -> None:
        """The peer takes bytes again."""
        self._paused = False
        self._stalled.stop()
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
        self._splitter.add(data)
        if not self._resting:
            self._work_off()

    def _work_off(self) -> None:
        """This turn's frames. If more are there, the socket rests until they have had their turns."""
        for _ in range(self._tuning.frames_per_turn):
            if self.lost:
                return
            try:
                body = self._splitter.take()
            except FrameError:
                self.close("garbage")
                return
            if body is None:
                self._caught_up()
                return
            self._slow.stop()
            self._on_body(body)
        if self.lost or self._transport is None or self._transport.is_closing():
            return
        if not self._resting:
            self._resting = True
            self._transport.pause_reading()
        self._loop.call_soon(self._work_off)

    def _caught_up(self) -> None:
        """No whole frame is left; part of one has its time from now on."""
        if self._resting and self._transport is not None and not self._transport.is_closing():
            self._resting = False
            self._transport.resume_reading()
        if self._splitter.partial:
            self._slow.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._finish("closed")

    def _finish(self, reason: str) -> None:
        """Once: what was not written is refused, then the owner is told."""
        if self.lost:
            return
        self.lost = True
        self._slow.stop()
        self._stalled.stop()
        waiting, self._outbox = self._outbox, deque()
        for outgoing in waiting:
            if not outgoing.cancelled:
                outgoing.on_refused(reason)
        self._on_lost(reason)
