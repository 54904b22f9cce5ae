"""Answers to reset: the directory of cards this project knows, and the ATRs its own virtual cards give."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass

from terminal_sdk.card.errors import UnknownAtr
from terminal_sdk.reader import Interface

MAX_HISTORICAL_BYTES = 15
_PC_SC_CONTACTLESS = b"\x80\x01"
_PATTERN = re.compile(r"(?:[0-9A-F]{2}|\.\.)+")

HISTORICAL_THIRD = bytes.fromhex("00 12156F 555353433330 059000")
"""ISO 7816-4 8.1: category 00; country 156 (tag 1); issuer's data ``SSC30`` (tag 5); life cycle 05, status 9000."""
HISTORICAL_LEGACY = bytes.fromhex("00 12156F 555353433230 059000")
"""The same with ``SSC20``."""


@dataclass(frozen=True, slots=True)
class KnownCard:
    """One entry of the directory. ``pattern``: the ATR in hex, ``..`` for a byte that may be anything."""

    pattern: str
    interface: Interface
    name: str

    def __post_init__(self) -> None:
        """Refuse a pattern that is not made of hex pairs and ``..``. Raises ``ValueError``."""
        if not _PATTERN.fullmatch(self._expression):
            raise ValueError("an ATR pattern is hex pairs and '..'")

    @property
    def _expression(self) -> str:
        return "".join(self.pattern.split()).upper()

    def matches(self, atr: bytes) -> bool:
        """Whether this entry describes ``atr``."""
        return re.fullmatch(self._expression, atr.hex().upper()) is not None


class AtrDirectory:
    """The cards that are accepted, by answer to reset. An operator adds the cards of a region to it."""

    def __init__(self, cards: Iterable[KnownCard]) -> None:
        self._cards = tuple(cards)

    def with_cards(self, *cards: KnownCard) -> AtrDirectory:
        """A directory that knows these cards too."""
        return AtrDirectory((*self._cards, *cards))

    def identify(self, atr: bytes) -> KnownCard:
        """The first entry that matches. Raises ``UnknownAtr``."""
        for card in self._cards:
            if card.matches(atr):
                return card
        raise UnknownAtr(atr)


def contact_atr(historical: bytes) -> bytes:
    """An ATR for T=0, direct convention: TS 3B, TB1 and TC1 zero, historical bytes, no check byte (ISO 7816-3 8.2)."""
    if len(historical) > MAX_HISTORICAL_BYTES:
        raise ValueError("an ATR has at most 15 historical bytes")
    return bytes([0x3B, 0x60 | len(historical), 0x00, 0x00]) + historical


def contactless_atr(historical: bytes) -> bytes:
    """The ATR that a PC/SC reader builds for an ISO 14443-4 card (PC/SC part 3, 3.1.3.2.3.1): 3B 8n 80 01 … TCK."""
    if len(historical) > MAX_HISTORICAL_BYTES:
        raise ValueError("an ATR has at most 15 historical bytes")
    body = bytes([0x80 | len(historical)]) + _PC_SC_CONTACTLESS + historical
    return b"\x3b" + body + bytes([functools.reduce(operator.xor, body)])


KNOWN_CARDS = AtrDirectory(
    [
        KnownCard(contact_atr(HISTORICAL_THIRD).hex(), "contact", "third-generation social security card"),
        KnownCard(contactless_atr(HISTORICAL_THIRD).hex(), "contactless", "third-generation social security card"),
        KnownCard(contact_atr(HISTORICAL_LEGACY).hex(), "contact", "legacy social security card"),
    ]
)
"""The virtual cards of this project."""
