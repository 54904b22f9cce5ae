"""The port to a card reader: connect, transmit, disconnect. Virtual and PC/SC readers implement it alike."""

from __future__ import annotations

from typing import Literal, Protocol

Interface = Literal["contact", "contactless"]


class CardConnection(Protocol):
    """A card in use, from power-up to ``disconnect``."""

    @property
    def atr(self) -> bytes:
        """The card's answer to reset; for a contactless card the one a PC/SC reader builds for it."""
        ...

    @property
    def interface(self) -> Interface:
        """How the card is reached."""
        ...

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; the whole response with its status word.

        61xx and 6Cxx are handed up as they came. Raises ``CardRemoved``, ``ConnectionClosed``, ``ReaderError``.
        """
        ...

    def disconnect(self) -> None:
        """Power the card down. Harmless if it is gone or disconnected already."""
        ...


class CardReader(Protocol):
    """A reader with one slot or field."""

    @property
    def name(self) -> str:
        """The reader's name, for people."""
        ...

    def connect(self) -> CardConnection:
        """Power the card up and take it for this caller alone. Raises ``NoCard``, ``ReaderBusy``, ``ReaderError``."""
        ...
