"""What a till hands in, the bill and the card, and the requests made of it: checked before anything is written."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Protocol, TypedDict, TypeVar

import msgspec

from terminal_sdk import wire
from terminal_sdk.card.errors import CardError, NoBankApplication
from terminal_sdk.client.delivery import CannotSend, NewPinBlock
from terminal_sdk.errors import InvalidRequest
from terminal_sdk.reader.errors import ReaderError

S = TypeVar("S", bound=msgspec.Struct)


class Bill(TypedDict):
    """The bill: its visit, the date of service (for the insurance rules) and its lines. The total is their sum."""

    visit_no: str
    visit_type: wire.VisitType
    service_date: dt.date
    lines: Sequence[wire.FeeLine]


class CardReading(Protocol):
    """What reading a card gives; ``terminal_sdk.card.CardRead`` is one."""

    def reference(self) -> wire.CardRef:
        """How requests name the card."""
        ...


class PresentCard(Protocol):
    """A card that lies in the reader now; ``terminal_sdk.card.CardSession`` is one. Its calls may block."""

    def read(self) -> CardReading:
        """Read the card."""
        ...

    def prove(self, *, terminal_id: str, visit_no: str, total_fen: int, agreed: str, now: dt.datetime) -> wire.Proof:
        """The card's agreement to this bill."""
        ...

    def pin_block(self, pin: str, pin_key: bytes) -> bytes:
        """The bank PIN as a block under the terminal's PIN key. Raises ``terminal_sdk.card.NoBankApplication``."""
        ...


def total_fen(bill: Bill) -> int:
    """The sum of the lines, in fen. Raises ``InvalidRequest`` for line numbers that occur twice."""
    numbers = [line.line_no for line in bill["lines"]]
    if len(set(numbers)) != len(numbers):
        raise InvalidRequest("lines: each line_no may occur once")
    return sum(line.amount_fen for line in bill["lines"])


def quote_request(
    bill: Bill, card: wire.CardRef, remainder: wire.Remainder, consent: wire.Consent | None
) -> wire.QuoteRequest:
    """The request for a quote. Raises ``InvalidRequest``."""
    return checked(
        wire.QuoteRequest(
            visit_no=bill["visit_no"],
            visit_type=bill["visit_type"],
            service_date=bill["service_date"],
            card=card,
            lines=list(bill["lines"]),
            total_fen=total_fen(bill),
            remainder=remainder,
            consent=consent,
        )
    )


def agreed_to(quote: wire.Quote | None, bank_ceiling_fen: int | None) -> str:
    """What the patient agrees to, as the card signs it. Raises ``InvalidRequest`` unless exactly one is given."""
    if quote is not None and bank_ceiling_fen is None:
        return f"quote:{quote.digest}"
    if quote is None and bank_ceiling_fen is not None:
        return f"ceiling:{bank_ceiling_fen}"
    raise InvalidRequest("give exactly one of quote and bank_ceiling_fen")


def checked(request: S) -> S:
    """The request, if it keeps the rules of the wire types (lengths, patterns, ranges). Raises ``InvalidRequest``."""
    try:
        return msgspec.convert(msgspec.to_builtins(request), type(request))
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidRequest(str(error)) from error


def same_bill(known: object, draft: wire.SettlementRequest) -> bool:
    """Whether a journalled request is the same bill as this one: proof, PIN block and ``wait_ms`` aside, as the service
    compares them.
    """
    return isinstance(known, wire.SettlementRequest) and draft == msgspec.structs.replace(
        known, proof=draft.proof, pin_block=draft.pin_block, wait_ms=draft.wait_ms
    )


async def pin_block(card: PresentCard, pin: str | None, pin_key: bytes) -> str | None:
    """The PIN as a block (hex); None without a PIN, or on a card without a bank account (insurance pays anyway)."""
    if pin is None:
        return None
    try:
        return (await asyncio.to_thread(card.pin_block, pin, pin_key)).hex()
    except NoBankApplication:
        return None


def pin_block_maker(card: PresentCard, pin: str | None) -> NewPinBlock | None:
    """Makes the PIN block anew when a new session brings a new PIN key; None without a PIN.

    The PIN lives in this closure, for the time of one call, and nowhere else.
    """
    if pin is None:
        return None

    async def make(pin_key: bytes) -> str:
        try:
            block = await pin_block(card, pin, pin_key)
        except (CardError, ReaderError) as error:
            raise CannotSend("the card is gone") from error
        if block is None:
            raise CannotSend("the card has no bank account any more")
        return block

    return make
