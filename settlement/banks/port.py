"""The port to a bank: five verbs and one kind of answer; the ISO 8583 link implements it, the engine calls it."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Protocol


class BankOutcome(enum.StrEnum):
    """What one message to a bank came to.

    ``NOT_SENT``: this call knows that not one byte left the process. ``UNKNOWN``: bytes may have left and no
    valid, conclusive answer came (time-out, closed link, bad MAC, codes 68, 91, 94, 96, 98). ``NOT_FOUND``: the bank
    says that it has no such original (code 25).
    """

    APPROVED = "approved"
    DECLINED = "declined"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageIdentity:
    """By what a bank message is known (rule 11 of the saga): a trace number alone has six digits and repeats.

    ``transmitted``: field 7, ``MMDDhhmmss`` UTC · ``trace``: field 11, six digits ·
    ``reference``: field 37, twelve digits · ``terminal_id``: field 41, eight characters.
    """

    bank: str
    terminal_id: str
    transmitted: str
    trace: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOrder:
    """One message to a bank. For every verb but ``debit``, ``original`` names the debit that is meant.

    ``pan``: account number of the bank application · ``amount_fen``: always the amount of this message ·
    ``pin_block``: field 52 under the *terminal's* PIN key together with that key
    (the link translates it to the bank's), or None.
    """

    identity: MessageIdentity
    amount_fen: int
    pan: str = field(repr=False)
    institution_id: str
    original: MessageIdentity | None = None
    pin_block: bytes | None = field(default=None, repr=False)
    pin_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAnswer:
    """What came back. ``response_code`` is the bank's field 39, kept to the end; ``settlement_date`` its field 15.

    ``detail`` is a stable word for what the link itself saw: ``timeout``, ``circuit_open``, ``closed``, ``bad_mac``,
    ``busy``, ``lease_over`` …
    """

    outcome: BankOutcome
    response_code: str | None = None
    authorisation: str | None = None
    settlement_date: dt.date | None = None
    detail: str = ""


class BankPort(Protocol):
    """All banks, as the engine sees them. No call raises for what a bank or the network does: the answer says it.

    ``send_before`` is a reading of the injected clock's ``monotonic()``: a message that could not be written
    to the socket before it is not written at all (``NOT_SENT``, ``lease_over``).
    """

    async def debit(self, order: BankOrder, send_before: float) -> BankAnswer:
        """0200/000000: take ``amount_fen`` from the patient's account. Never repeated by the link."""
        ...

    async def inquire(self, order: BankOrder, send_before: float) -> BankAnswer:
        """Ask what became of ``original``: APPROVED, DECLINED (with its first code), NOT_FOUND or UNKNOWN."""
        ...

    async def reverse(self, order: BankOrder, send_before: float) -> BankAnswer:
        """0400 of ``original``, whose outcome is unknown. APPROVED: undone, or never to be done.

        NOT_FOUND proves nothing from a bank that does not remember refusals; see the directory.
        """
        ...

    async def void(self, order: BankOrder, send_before: float) -> BankAnswer:
        """0200/200000 of a known approval, before the bank's cut-over. Too late is DECLINED with code ``13``."""
        ...

    async def refund(self, order: BankOrder, send_before: float) -> BankAnswer:
        """0220/200000 of a known approval, after the bank's cut-over; up to the original amount in sum."""
        ...
