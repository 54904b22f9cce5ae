"""The network between service and banks: ordered byte streams that can be cut, stalled and chopped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from settlement.simulation.loop import OUTSIDE, Process, SimulatedLoop, current_process
from settlement.simulation.trace import Trace

_LATENCY_S = (0.000_3, 0.003)
_EPSILON_S = 1e-9
_CHOPPED_MOST = 400


class End(asyncio.Transport):
    """One end of a connection, as the protocol on this side sees it."""

    def __init__(self, wire: Wire, process: Process, protocol: Any) -> None:
        super().__init__()
        self.process = process
        self.protocol = protocol
        self.peer: End = self
        self._wire = wire
        self._closing = False
        self._arriving: deque[tuple[float, bytes | None]] = deque()
        self._last_due = 0.0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand bytes to the network; they arrive in order, in one piece or in several."""
        if not self._closing:
            for piece in self._wire.pieces(bytes(data)):
                self.peer.expect(piece)

    def expect(self, piece: bytes | None) -> None:
        """Bytes (None: the end of the stream) are on their way to this end."""
        due = max(self._last_due, self._wire.loop.time() + self._wire.latency_s())
        self._last_due = due
        self._arriving.append((due, piece))
        self._wire.loop.call_at(due, self._pump, context=OUTSIDE)

    def _pump(self) -> None:
        now = self._wire.loop.time()
        if now + _EPSILON_S < self._wire.stalled_until:
            self._wire.loop.call_at(self._wire.stalled_until, self._pump, context=OUTSIDE)
            return
        while self._arriving and self._arriving[0][0] <= now + _EPSILON_S:
            piece = self._arriving.popleft()[1]
            if piece is None:
                self.lose(None)
            elif not self._closing:
                self._wire.trace.note(self.process.name, "bytes", self._wire.name, piece)
                self.process.call(self._receive, piece)

    def _receive(self, piece: bytes) -> None:
        if not self._closing:
            self.protocol.data_received(piece)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone on this side."""
        if not self._closing:
            self._closing = True
            self.process.call(self.protocol.connection_lost, error)

    def half_of_what_comes(self) -> None:
        """Let part of the next piece through: what a connection that breaks leaves behind."""
        if self._arriving and not self._closing and (piece := self._arriving[0][1]):
            half = piece[: len(piece) // 2]
            self._wire.trace.note(self.process.name, "bytes", f"{self._wire.name} half", half)
            self.process.call(self.protocol.data_received, half)
        self._arriving.clear()

    def abort(self) -> None:
        """Close at once."""
        if not self._closing:
            self.lose(None)
            self.peer.expect(None)

    def close(self) -> None:
        """Close."""
        self.abort()

    def is_closing(self) -> bool:
        """Whether no more may be written."""
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered here."""

    def get_write_buffer_size(self) -> int:
        """Nothing is buffered here."""
        return 0


class Wire:
    """One connection. ``habit``: how its bytes arrive: ``whole``, ``halves`` or ``bytes``."""

    def __init__(self, network: Network, name: str, habit: str) -> None:
        self.name = name
        self.trace = network.trace
        self.loop = network.loop
        self.stalled_until = 0.0
        self._habit = habit
        self._random = network.random
        self.ends: tuple[End, ...] = ()

    @property
    def open(self) -> bool:
        """Whether both sides still take it for open."""
        return not any(end.is_closing() for end in self.ends)

    def latency_s(self) -> float:
        """How long the next piece travels."""
        return self._random.uniform(*_LATENCY_S)

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """The pieces in which a write arrives."""
        if self._habit == "halves" and len(data) > 1:
            place = self._random.randrange(1, len(data))
            return data[:place], data[place:]
        if self._habit == "bytes" and len(data) <= _CHOPPED_MOST:
            return [data[place : place + 1] for place in range(len(data))]
        return (data,)

    def cut(self) -> None:
        """Break it: what is on its way is lost, but for half of the next piece."""
        for end in self.ends:
            end.half_of_what_comes()
        for end in self.ends:
            end.lose(ConnectionResetError("the network cut the connection"))

    def stall(self, seconds: float) -> None:
        """Nothing arrives for a while, and neither side can write."""
        self.stalled_until = self.loop.time() + seconds
        for end in self.ends:
            end.process.call(_unless_closing, end, "pause_writing")
        self.loop.call_at(self.stalled_until, self._flow, context=OUTSIDE)

    def _flow(self) -> None:
        if self.loop.time() + _EPSILON_S >= self.stalled_until:
            for end in self.ends:
                end.process.call(_unless_closing, end, "resume_writing")


def _unless_closing(end: End, notice: str) -> None:
    if not end.is_closing():
        getattr(end.protocol, notice)()


class _Listener:
    """What ``create_server`` gives: an address, and the right to close it."""

    def __init__(self, network: Network, port: int) -> None:
        self._network = network
        self._port = port
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        """Where it listens."""
        return "simulated", self._port

    def close(self) -> None:
        """Take no more connections."""
        self._network.close_port(self._port)


class Network:
    """All connections of a run. ``unreachable``: ports whose packets are lost without a word."""

    def __init__(self, loop: SimulatedLoop, trace: Trace, random: Random) -> None:
        self.loop = loop
        self.trace = trace
        self.random = random
        self.wires: list[Wire] = []
        self.unreachable: set[int] = set()
        self._listeners: dict[int, tuple[Callable[[], Any], Process]] = {}
        self._numbers = 0
        loop.network = self

    async def connect(self, protocol_factory: Callable[[], Any], port: int) -> tuple[End, Any]:
        """Connect the calling process to a port. Raises ``ConnectionRefusedError``; waits for ever if unreachable."""
        client = current_process()
        assert client is not None  # noqa: S101 - only processes connect
        await asyncio.sleep(self.random.uniform(*_LATENCY_S))
        if port in self.unreachable:
            await self.loop.create_future()
        if port not in self._listeners:
            raise ConnectionRefusedError(f"nobody listens on port {port}")
        accept, server = self._listeners[port]
        self._numbers += 1
        habit = self.random.choices(("whole", "halves", "bytes"), (8, 3, 1))[0]
        wire = Wire(self, f"{client.name}-{server.name}#{self._numbers}", habit)
        near, far = End(wire, client, protocol_factory()), End(wire, server, accept())
        near.peer, far.peer = far, near
        wire.ends = (near, far)
        self.wires.append(wire)
        server.call(far.protocol.connection_made, far)
        near.protocol.connection_made(near)
        return near, near.protocol

    def listen(self, protocol_factory: Callable[[], Any], port: int) -> _Listener:
        """Take connections for the calling process."""
        server = current_process()
        assert server is not None  # noqa: S101 - only processes listen
        self._listeners[port] = (protocol_factory, server)
        return _Listener(self, port)

    def close_port(self, port: int) -> None:
        """Nobody listens there any more."""
        self._listeners.pop(port, None)

    def forget(self, process: Process) -> None:
        """A process has died: its ports close, and whoever it was connected with finds the connection reset."""
        self._listeners = {port: entry for port, entry in self._listeners.items() if entry[1] is not process}
        for wire in self.open_wires():
            for end in wire.ends:
                if end.process is process:
                    end.abort()

    def open_wires(self, port_owner: str | None = None) -> list[Wire]:
        """Connections that both sides take for open; only those with this process, if named."""
        self.wires = [wire for wire in self.wires if wire.open]
        return [
            wire
            for wire in self.wires
            if port_owner is None or any(end.process.name == port_owner for end in wire.ends)
        ]
