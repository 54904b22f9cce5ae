"""A reader without hardware: takes any object that behaves like a chip, and can have its card torn out on purpose."""

from __future__ import annotations

from typing import Protocol

from terminal_sdk.reader.errors import CardRemoved, ConnectionClosed, NoCard, ReaderBusy
from terminal_sdk.reader.port import Interface


class Chip(Protocol):
    """What the virtual reader needs of a card."""

    def reset(self, interface: Interface) -> bytes | None:
        """Power up on this interface; the answer to reset, or None if the card has no such interface."""
        ...

    def transmit(self, command: bytes) -> bytes:
        """Take one command APDU, give the response APDU."""
        ...


class VirtualReader:
    """A reader with one slot. ``card`` None: empty. Not for use by several threads at once."""

    def __init__(
        self, card: Chip | None = None, interface: Interface = "contact", name: str = "Virtual reader 0"
    ) -> None:
        self._card = card
        self._interface: Interface = interface
        self._name = name
        self._connection: VirtualConnection | None = None
        self._tear_after: int | None = None
        self._tear_runs_last = False

    @property
    def name(self) -> str:
        """The reader's name."""
        return self._name

    @property
    def interface(self) -> Interface:
        """How this reader reaches cards."""
        return self._interface

    def insert(self, card: Chip) -> None:
        """Put a card in. Raises ``ReaderBusy`` if one is there already."""
        if self._card is not None:
            raise ReaderBusy("a card is in the reader already")
        self._card = card

    def remove(self) -> None:
        """Take the card out; a connection to it fails from now on with ``CardRemoved``."""
        self._card = None
        self._connection = None
        self._tear_after = None

    def tear_out_after(self, commands: int, *, last_is_run: bool = False) -> None:
        """A fault for tests: the card is torn out during the command that follows the next ``commands`` commands.

        ``last_is_run``: the card still carries that command out (its counter rises, a try is used), only the answer is
        lost; otherwise the card never sees it.
        """
        if commands < 0:
            raise ValueError("a number of commands is not negative")
        self._tear_after = commands
        self._tear_runs_last = last_is_run

    def connect(self) -> VirtualConnection:
        """Power the card up. Raises ``NoCard`` or ``ReaderBusy``."""
        if self._connection is not None:
            raise ReaderBusy("the card is in use")
        if self._card is None:
            raise NoCard("no card lies in the reader")
        atr = self._card.reset(self._interface)
        if atr is None:
            raise NoCard(f"no card answers on the {self._interface} interface")
        self._connection = VirtualConnection(self, atr)
        return self._connection

    def _exchange(self, connection: VirtualConnection, command: bytes) -> bytes:
        card = self._card
        if connection is not self._connection or card is None:
            raise CardRemoved("the card was taken out")
        if self._tear_after is not None:
            if self._tear_after == 0:
                if self._tear_runs_last:
                    card.transmit(command)
                self.remove()
                raise CardRemoved("the card was torn out during a command")
            self._tear_after -= 1
        return card.transmit(command)

    def _release(self, connection: VirtualConnection) -> None:
        if connection is self._connection:
            self._connection = None


class VirtualConnection:
    """A powered card in a virtual reader."""

    def __init__(self, reader: VirtualReader, atr: bytes) -> None:
        self._reader = reader
        self._atr = atr
        self._closed = False

    @property
    def atr(self) -> bytes:
        """The card's answer to reset."""
        return self._atr

    @property
    def interface(self) -> Interface:
        """How the card is reached."""
        return self._reader.interface

    def transmit(self, command: bytes) -> bytes:
        """Send one command. Raises ``CardRemoved`` or ``ConnectionClosed``."""
        if self._closed:
            raise ConnectionClosed("this connection was disconnected")
        return self._reader._exchange(self, command)

    def disconnect(self) -> None:
        """Power the card down; harmless a second time."""
        self._closed = True
        self._reader._release(self)
