"""A virtual card in a real PC/SC daemon: the card's end of the connection to the driver ``vpcd`` (vsmartcard).

The driver makes reader slots of TCP ports. Frames go both ways: two bytes of length, big-endian, then as many bytes.
One byte from the driver is a signal (power off, power on, reset, answer to reset); more are a command APDU.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from collections.abc import Callable
from typing import Literal

from terminal_sdk.reader.errors import DaemonUnavailable, NoCard
from terminal_sdk.reader.port import Interface
from terminal_sdk.reader.tracing import describe_command, describe_response
from terminal_sdk.reader.virtual import Chip

FIRST_PORT = 35963
"""Slot 0 of the driver as Debian configures it; slot 1 is the next port."""
SLOTS = 2
CONNECT_TIMEOUT_S = 5.0
FIRST_FRAME_S = 3.0
"""A free slot asks for the answer to reset at once, and every 400 ms; one that does not has another card in it."""
RETRY_FIRST_S = 0.25
RETRY_MAX_S = 5.0

PlugEvent = Literal["plugged", "waiting", "powered", "reset", "unpowered", "lost", "unplugged"]

_OFF, _ON, _RESET, _ATR = b"\x00", b"\x01", b"\x02", b"\x04"
_LENGTH_BYTES = 2
_FRAME_MAX = 0xFFFF
_WRONG_LENGTH = b"\x67\x00"


class PluggedCard:
    """A chip that lies in a slot of the driver at ``host``:``port`` while ``serve`` runs.

    ``tell`` hears what happens: ``plugged`` (the daemon speaks to the card), ``waiting`` (another card is in the slot),
    ``powered``, ``reset``, ``unpowered``, ``lost`` (the daemon went away), ``unplugged`` (the end). ``trace`` gets each
    ATR, command and response as ``TracingReader`` shows them; what files hold is left out without ``reveal``.
    """

    def __init__(
        self,
        chip: Chip,
        interface: Interface = "contact",
        *,
        host: str = "127.0.0.1",
        port: int = FIRST_PORT,
        tell: Callable[[PlugEvent], None] | None = None,
        trace: Callable[[str], None] | None = None,
        reveal: bool = False,
    ) -> None:
        self._chip = chip
        self._interface: Interface = interface
        self._address = (host, port)
        self._tell = tell or (lambda _: None)
        self._trace = trace
        self._reveal = reveal
        self._powered = False
        self._wake, self._waker = socket.socketpair()

    def serve(self) -> None:
        """Plug in and answer until ``stop``; once. When the daemon comes back after an end, plug in again.

        The tries are 0.25 s apart, then longer, up to 5 s. Raises ``NoCard`` if the chip has no such interface,
        ``DaemonUnavailable`` if there is no daemon at the start.
        """
        with self._wake, self._waker:
            atr = self._chip.reset(self._interface)
            if atr is None:
                raise NoCard(f"no card answers on the {self._interface} interface")
            with contextlib.suppress(_Stopped):
                self._serve(self._connect(), atr)
        self._tell("unplugged")

    def _serve(self, connection: socket.socket, atr: bytes) -> None:
        delay_s = RETRY_FIRST_S
        while True:
            if self._answer(connection, atr):
                self._tell("lost")
                delay_s = RETRY_FIRST_S
            while True:
                self._pause(delay_s)
                delay_s = min(delay_s * 2, RETRY_MAX_S)
                with contextlib.suppress(DaemonUnavailable):
                    connection = self._connect()
                    break

    def stop(self) -> None:
        """Take the card out: ``serve`` returns, after the command it is at. From any thread or signal handler."""
        with contextlib.suppress(OSError):
            self._waker.send(b"\x00")

    def _connect(self) -> socket.socket:
        try:
            return socket.create_connection(self._address, CONNECT_TIMEOUT_S)
        except OSError as error:
            host, port = self._address
            raise DaemonUnavailable(
                f"no virtual slot at {host}:{port}: install pcscd and vsmartcard-vpcd, and start the daemon (pcscd)"
            ) from error

    def _answer(self, connection: socket.socket, atr: bytes) -> bool:
        """Answer until the daemon goes away; whether it ever spoke."""
        plugged = False
        self._powered = False
        with connection, contextlib.suppress(_Gone, OSError):
            _prepare(connection)
            if not self._readable(connection, FIRST_FRAME_S):
                self._tell("waiting")
            while True:
                frame = self._frame(connection)
                if not plugged:
                    plugged = True
                    self._tell("plugged")
                answer = self._signal(frame, atr) if len(frame) == 1 else self._exchange(frame, atr)
                if answer is not None:
                    connection.sendall(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
        return plugged

    def _signal(self, signal: bytes, atr: bytes) -> bytes | None:
        if signal == _ATR:
            return atr
        if signal in (_ON, _RESET):
            self._power_up(atr)
            self._tell("powered" if signal == _ON else "reset")
            return None
        if signal == _OFF:
            self._powered = False
            self._tell("unpowered")
            return None
        # No signal, so a command of one byte: the driver waits for an answer.
        return _WRONG_LENGTH

    def _power_up(self, atr: bytes) -> None:
        self._chip.reset(self._interface)
        self._powered = True
        self._say(f"ATR {atr.hex().upper()}")

    def _exchange(self, command: bytes, atr: bytes) -> bytes:
        if not self._powered:
            self._power_up(atr)
        self._say(f"> {describe_command(command)}")
        response = self._chip.transmit(command)
        if len(response) > _FRAME_MAX:
            response = _WRONG_LENGTH
        self._say(f"< {describe_response(command, response, reveal=self._reveal)}")
        return response

    def _say(self, line: str) -> None:
        if self._trace is not None:
            self._trace(line)

    def _frame(self, connection: socket.socket) -> bytes:
        length = int.from_bytes(self._receive(connection, _LENGTH_BYTES), "big")
        if not length:
            raise _Gone  # the driver sends no empty frame: whoever this is, it is not the driver
        return self._receive(connection, length)

    def _receive(self, connection: socket.socket, size: int) -> bytes:
        received = b""
        while len(received) < size:
            self._readable(connection, None)
            part = connection.recv(size - len(received))
            if not part:
                raise _Gone
            received += part
            _acknowledge_now(connection)
        return received

    def _readable(self, connection: socket.socket, timeout_s: float | None) -> bool:
        ready, _, _ = select.select([connection, self._wake], [], [], timeout_s)
        if self._wake in ready:
            raise _Stopped
        return bool(ready)

    def _pause(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            raise _Stopped


class _Stopped(Exception):
    """``stop`` was called; a signal inside this module."""


class _Gone(Exception):
    """The daemon closed the connection; a signal inside this module."""


def _prepare(connection: socket.socket) -> None:
    """Answers leave at once; a daemon whose machine died is noticed."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _acknowledge_now(connection: socket.socket) -> None:
    """The driver sends length and bytes apart, and the second waits up to 40 ms for the first to be acknowledged."""
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
