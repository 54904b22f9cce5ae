"""Real readers, at the PC/SC daemon: pcscd on Linux, the system's own on Windows and macOS. Needs ``pyscard``."""

from __future__ import annotations

import functools
import operator
import time

from terminal_sdk.reader import winscard
from terminal_sdk.reader.errors import (
    AmbiguousReader,
    CardRemoved,
    ConnectionClosed,
    ExchangeFailed,
    NoCard,
    ReaderBusy,
    ReaderError,
    ReaderNotFound,
    ReaderUnplugged,
)
from terminal_sdk.reader.port import Interface

BUSY_MS = 1_000
"""How long ``connect`` waits for a card that another program holds: those that look at every new card are quick."""
_BUSY_STEP_S = 0.05
_REMOVAL_MS = 1_000
"""How long the daemon may take to notice that a card is gone (pcscd looks every 400 ms at drivers that do not tell)."""
_REMOVAL_CHANGES_MAX = 4
_APDU_BYTES_MIN = 4
_DIRECT_CONVENTION = 0x3B
_ONLY_TD1 = 0x80
"""T0 of a wrapped card: TD1 follows, and the number of historical bytes."""
_TD1_TD2 = b"\x80\x01"
_WRAPPING_BYTES = 5
"""TS, T0, TD1, TD2 before the historical bytes, TCK after them."""


def list_readers() -> list[str]:
    """The names of the readers that are connected; none is no error.

    Raises ``PcscNotInstalled``, ``DaemonUnavailable``, ``AccessDenied``.
    """
    context = winscard.Context()
    try:
        return context.readers()
    finally:
        context.close()


class PcscReader:
    """One reader at the PC/SC daemon; not for use by several threads at once.

    ``name``: its name, or a part that fits no other reader (upper or lower case); None takes the only reader, or the
    only one with a card in it. ``interface``: how cards are reached, if the card's ATR would say it wrongly.

    The reader is looked up, and the daemon asked anew, at each ``connect``: one object lives through cards taken out,
    cables pulled and daemons restarted.
    """

    def __init__(self, name: str | None = None, *, interface: Interface | None = None, busy_ms: int = BUSY_MS) -> None:
        self._wanted = name
        self._interface = interface
        self._busy_ms = busy_ms
        self._found: str | None = None
        self._connection: PcscConnection | None = None

    @property
    def name(self) -> str:
        """The reader's whole name once it was found; until then as it was asked for."""
        return self._found or self._wanted or "PC/SC reader"

    def connect(self) -> PcscConnection:
        """Take the card for this caller alone, reset it, and speak T=0 on contacts, T=1 in the field, if it can.

        Raises ``NoCard``, ``ReaderBusy`` (after ``busy_ms``), ``ReaderNotFound``, ``AmbiguousReader``,
        ``ReaderUnplugged``, ``DaemonUnavailable``, ``AccessDenied``, ``PcscNotInstalled``, ``ReaderError``.
        """
        if self._connection is not None:
            self._connection.require_over()
        context = winscard.Context()
        try:
            self._found = choose(context, self._wanted)
            self._connection = self._power_up(context, self._found)
        except BaseException:
            context.close()
            raise
        return self._connection

    def _power_up(self, context: winscard.Context, reader: str) -> PcscConnection:
        try:
            card = self._take(context, reader)
            atr = card.atr()
            interface = self._interface or interface_of(atr)
            _reset(card, interface)
        except NoCard:
            if not context.slots([reader]):  # a card that cannot be powered: because the reader went with it
                raise ReaderUnplugged("the reader was unplugged") from None
            raise
        return PcscConnection(context, card, reader, atr, interface)

    def _take(self, context: winscard.Context, reader: str) -> winscard.Card:
        deadline = time.monotonic() + self._busy_ms / 1000
        while True:
            try:
                return context.connect(reader)
            except ReaderBusy:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_BUSY_STEP_S)


class PcscConnection:
    """A powered card in a real reader. Once an exchange failed, the connection is over: every later one fails too."""

    def __init__(
        self, context: winscard.Context, card: winscard.Card, reader: str, atr: bytes, interface: Interface
    ) -> None:
        self._context = context
        self._card = card
        self._reader = reader
        self._atr = atr
        self._interface: Interface = interface
        self._closed = False
        self._failure: ReaderError | None = None

    @property
    def atr(self) -> bytes:
        """The card's answer to reset."""
        return self._atr

    @property
    def interface(self) -> Interface:
        """How the card is reached."""
        return self._interface

    def transmit(self, command: bytes) -> bytes:
        """Send one command, which goes to the card as it is; the whole response with its status word.

        Raises ``CardRemoved``, ``ReaderUnplugged``, ``DaemonUnavailable``, ``ExchangeFailed``, ``ConnectionClosed``;
        ``ValueError`` for fewer than four bytes, which are no command.
        """
        if len(command) < _APDU_BYTES_MIN:
            raise ValueError("a command has at least four bytes")
        if self._closed:
            raise ConnectionClosed("this connection was disconnected")
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        try:
            return self._card.transmit(command)
        except ReaderError as error:
            self._failure = self._cause(error)
            raise self._failure from error

    def disconnect(self) -> None:
        """Power the card down and let it go; harmless a second time, and if anything is gone."""
        if self._closed:
            return
        self._closed = True
        self._card.disconnect()
        self._context.close()

    def require_over(self) -> None:
        """Release what is left of a connection whose card is gone. Raises ``ReaderBusy`` if it is in use."""
        if self._closed:
            return
        if self._failure is None:
            try:
                self._card.atr()
            except ReaderError as error:
                self._failure = error
            else:
                raise ReaderBusy("the card is in use")
        self.disconnect()

    def _cause(self, error: ReaderError) -> ReaderError:
        """What really happened: the daemon reports an exchange that failed before it notices that the card is gone."""
        if isinstance(error, NoCard):
            return CardRemoved("the card was taken out")
        if not isinstance(error, ExchangeFailed):
            return error
        try:
            return self._gone() or error
        except ReaderError as second:
            return second

    def _gone(self) -> ReaderError | None:
        """Give the daemon time to notice; None if the card stays where it is."""
        slots = self._context.slots([self._reader])
        slot = slots[0] if slots else None
        deadline = time.monotonic() + _REMOVAL_MS / 1000
        for _ in range(_REMOVAL_CHANGES_MAX):
            if slot is None:
                return ReaderUnplugged("the reader was unplugged")
            if not slot.present:
                return CardRemoved("the card was taken out during a command")
            left_ms = int((deadline - time.monotonic()) * 1000)
            if left_ms <= 0:
                break
            slot = self._context.changed(slot, left_ms)
        return None


def choose(context: winscard.Context, wanted: str | None) -> str:
    """The reader that is meant. Raises ``ReaderNotFound``, ``AmbiguousReader``, ``NoCard`` (several, all empty)."""
    names = context.readers()
    if not names:
        raise ReaderNotFound("no reader is connected")
    if wanted is None:
        return names[0] if len(names) == 1 else _only_one_with_a_card(context, names)
    if wanted in names:
        return wanted
    fitting = [name for name in names if wanted.casefold() in name.casefold()]
    if not fitting:
        raise ReaderNotFound(f"no reader is called {wanted!r}; connected: {'; '.join(names)}")
    if len(fitting) > 1:
        raise AmbiguousReader(f"{wanted!r} fits {'; '.join(fitting)}: give more of the name", fitting)
    return fitting[0]


def _only_one_with_a_card(context: winscard.Context, names: list[str]) -> str:
    filled = [slot.name for slot in context.slots(names) if slot.present]
    if not filled:
        raise NoCard(f"no card lies in any of {len(names)} readers")
    if len(filled) > 1:
        raise AmbiguousReader(f"cards lie in {'; '.join(filled)}: name a reader", filled)
    return filled[0]


def interface_of(atr: bytes) -> Interface:
    """Contactless if the ATR has the form in which readers wrap ISO 14443 cards (PC/SC part 3, 3.1.3.2.3.1).

    That is 3B 8n 80 01, n historical bytes, TCK; anything else was sent by a chip on its contacts.
    """
    historical = len(atr) - _WRAPPING_BYTES
    if historical < 0 or atr[:2] != bytes([_DIRECT_CONVENTION, _ONLY_TD1 | historical]) or atr[2:4] != _TD1_TD2:
        return "contact"
    return "contact" if functools.reduce(operator.xor, atr[1:]) else "contactless"


def _reset(card: winscard.Card, interface: Interface) -> None:
    """From here the card remembers nothing of an earlier user. T=0 on contacts, where commands are made for it."""
    first = 0 if interface == "contact" else 1
    try:
        card.reset(first)
    except winscard.ProtocolMismatch:
        card.reset(1 - first)
