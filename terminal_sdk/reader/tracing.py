"""A reader that tells what passes through it: every command and response, with secrets and personal data left out."""

from __future__ import annotations

from collections.abc import Callable

from terminal_sdk.reader.port import CardConnection, CardReader, Interface

VERIFY = 0x20
READ_INSTRUCTIONS = (b"\xb0", b"\xb2")
_HEADER_BYTES = 5
_STATUS_BYTES = 2


class TracingReader:
    """Wraps any reader and hands each line of the exchange to ``sink``: ``> command``, ``< response``, in hex.

    A PIN is never shown. What files hold (names, numbers, certificates) is shown only with ``reveal``; otherwise its
    place is taken by a count of bytes.
    """

    def __init__(self, reader: CardReader, sink: Callable[[str], None], *, reveal: bool = False) -> None:
        self._reader = reader
        self._sink = sink
        self._reveal = reveal

    @property
    def name(self) -> str:
        """The name of the reader behind."""
        return self._reader.name

    def connect(self) -> CardConnection:
        """Connect through the reader behind; the ATR is traced too."""
        connection = self._reader.connect()
        self._sink(f"ATR {connection.atr.hex().upper()}")
        return _TracingConnection(connection, self._sink, reveal=self._reveal)


class _TracingConnection:
    def __init__(self, connection: CardConnection, sink: Callable[[str], None], *, reveal: bool) -> None:
        self._connection = connection
        self._sink = sink
        self._reveal = reveal

    @property
    def atr(self) -> bytes:
        return self._connection.atr

    @property
    def interface(self) -> Interface:
        return self._connection.interface

    def transmit(self, command: bytes) -> bytes:
        self._sink(f"> {describe_command(command)}")
        response = self._connection.transmit(command)
        self._sink(f"< {describe_response(command, response, reveal=self._reveal)}")
        return response

    def disconnect(self) -> None:
        self._connection.disconnect()


def describe_command(command: bytes) -> str:
    """A command in hex; the data of VERIFY as stars, whatever else is asked for."""
    if command[1:2] == bytes([VERIFY]) and len(command) > _HEADER_BYTES:
        hidden = len(command) - _HEADER_BYTES
        return command[:_HEADER_BYTES].hex().upper() + "**" * hidden
    return command.hex().upper()


def describe_response(command: bytes, response: bytes, *, reveal: bool) -> str:
    """A response in hex; what was read from a file only as a count of bytes, unless ``reveal``."""
    hidden = len(response) - _STATUS_BYTES
    if reveal or hidden <= 0 or command[1:2] not in READ_INSTRUCTIONS:
        return response.hex().upper()
    return f"[{hidden} bytes] {response[-_STATUS_BYTES:].hex().upper()}"
