"""The messages of the stub's admin HTTP: accounts, books, log and faults, as typed structures."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta, Struct

AccountState = Literal["active", "frozen", "expired", "closed"]
Amount = Annotated[int, Meta(ge=0, le=10**14)]
Pan = Annotated[str, Meta(pattern=r"^[0-9]{12,19}$")]
Pin = Annotated[str, Meta(pattern=r"^[0-9]{4,12}$")]

DEFAULT_TRANSACTION_LIMIT_FEN = 5_000_000
DEFAULT_DAILY_LIMIT_FEN = 20_000_000
DEFAULT_DAILY_COUNT_LIMIT = 1_000
DEFAULT_NO_PIN_LIMIT_FEN = 100_000
PIN_TRIES = 3


class AccountSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to open or change. What is left out stays as it is, or takes its default on a new account.

    ``balance_fen`` sets the balance (a correcting entry is booked); ``pin`` also clears the count of wrong tries.
    ``no_pin_limit_fen`` (免密): the largest debit that needs no PIN.
    """

    bank: str
    pan: Pan
    balance_fen: Amount | None = None
    pin: Pin | None = None
    state: AccountState | None = None
    transaction_limit_fen: Amount | None = None
    daily_limit_fen: Amount | None = None
    daily_count_limit: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    no_pin_limit_fen: Amount | None = None


class AccountBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accounts of one or several banks. ``only_new``: leave those that exist untouched."""

    accounts: Annotated[list[AccountSpec], Meta(min_length=1, max_length=5_000)]
    only_new: bool = False


class Account(Struct, frozen=True, kw_only=True):
    """An account as it stands."""

    bank: str
    pan: str
    state: AccountState
    balance_fen: int
    transaction_limit_fen: int
    daily_limit_fen: int
    daily_count_limit: int
    no_pin_limit_fen: int
    has_pin: bool
    pin_failures: int


class Identity(Struct, frozen=True, kw_only=True):
    """The whole identity of a message: bank, fields 41, 7, 11, 37."""

    bank: str
    terminal_id: str
    transmitted: str
    trace: str
    reference: str


class BookItem(Struct, frozen=True, kw_only=True):
    """One judged message. ``state`` of a debit: live, voided, reversed, refunded, partly_refunded or declined; of
    anything else: done, declined, or nothing_to_do (approved, but nothing was left to move)."""

    id: int
    kind: str
    identity: Identity
    original: Identity | None
    institution_id: str
    pan: str
    amount_fen: int
    moved_fen: int
    state: str
    response_code: str
    authorisation: str | None
    settlement_date: dt.date
    recorded_at: dt.datetime


class BookPage(Struct, frozen=True, kw_only=True):
    """A page; ``next_after`` goes into ``after`` of the next call, null on the last page."""

    items: list[BookItem]
    next_after: int | None


class KindTotal(Struct, frozen=True, kw_only=True):
    """How many operations of a kind are in a state, and what they come to."""

    kind: str
    state: str
    count: int
    amount_fen: int


class BankSummary(Struct, frozen=True, kw_only=True):
    """One bank's books in short. ``balanced``: every balance is the sum of its entries."""

    bank: str
    name: str
    business_date: dt.date
    accounts: int
    balance_fen: int
    balanced: bool
    tombstones: int
    totals: list[KindTotal]


class LogRow(Struct, frozen=True, kw_only=True):
    """One frame. ``pan`` is masked; ``note`` names the fault that was played, if any."""

    id: int
    recorded_at: dt.datetime
    direction: Literal["received", "sent"]
    mti: str
    processing_code: str
    network_code: str
    terminal_id: str
    transmitted: str
    trace: str
    reference: str
    pan: str
    amount_fen: int | None
    response_code: str
    note: str


class LogPage(Struct, frozen=True, kw_only=True):
    """A page; ``next_after`` as in ``BookPage``."""

    items: list[LogRow]
    next_after: int | None


Action = Literal[
    "delay_ms",
    "drop_before_commit",
    "drop_after_commit",
    "duplicate",
    "garbage",
    "close",
    "wrong_mac",
    "wrong_amount",
    "wrong_identity",
    "answer_code",
    "half_frame",
    "trickle",
    "wrong_mti",
    "wrong_currency",
    "huge_length",
    "out_of_order",
    "contradict",
    "unsolicited",
    "flood",
    "stall_reading",
    "accept_silent",
    "accept_close",
]
Part = Literal["terminal_id", "transmitted", "trace", "reference"]


class Match(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages a fault meets; what is left out matches all (network messages only when ``mti`` says so)."""

    mti: Annotated[str, Meta(pattern=r"^[0-9]{4}$")] | None = None
    processing_code: Annotated[str, Meta(pattern=r"^[0-9]{6}$")] | None = None
    network_code: Annotated[str, Meta(pattern=r"^[0-9]{3}$")] | None = None
    pan: Pan | None = None
    reference: Annotated[str, Meta(pattern=r"^[0-9A-Z]{12}$")] | None = None


class FaultSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault to play. ``bank`` null: any bank · ``count`` null: until cleared · ``when``: on which side of the commit
    a delay or an answer code takes effect (default: delay after, answer code before, that is without booking) ·
    ``frames``: how many copies or unsolicited answers there are besides the answer · ``part``: which part of the
    identity is another one · ``delay_ms`` besides: between two bytes of ``trickle`` (default 1), and how long
    ``out_of_order`` and ``stall_reading`` last at most (default 1 s, 60 s)."""

    action: Action
    bank: str | None = None
    match: Match = Match()
    count: Annotated[int, Meta(ge=1, le=10**6)] | None = 1
    probability: Annotated[float, Meta(gt=0, le=1)] = 1.0
    delay_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    when: Literal["before_commit", "after_commit"] | None = None
    code: Annotated[str, Meta(pattern=r"^[0-9A-Z]{2}$")] | None = None
    frames: Annotated[int, Meta(ge=1, le=10**6)] = 1
    part: Part = "reference"


class Fault(Struct, frozen=True, kw_only=True):
    """A fault of the panel: how often it was played, and how often it still will be (null: no limit)."""

    id: int
    spec: FaultSpec
    played: int
    remaining: int | None


class HangUp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close every connection of a bank (null: of all) now; the books do not notice."""

    bank: str | None = None


class CutOver(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the business day of a bank (null: of all) now."""

    bank: str | None = None
