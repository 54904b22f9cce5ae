"""What goes into the ledger's functions and what comes out: plain records, fen in `int`."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct

from terminal_sdk.wire import FeeLine, RefundLine, SplitPart, StayBill


@dataclass(frozen=True, slots=True)
class SagaKey:
    """Where a settlement or an undo lives: its person, its acceptance date (partition) and its own id."""

    person_id: int
    acceptance_date: dt.date
    saga_id: uuid.UUID


class LineFacts(Struct, frozen=True, kw_only=True):
    """A fee line as it was judged: its class and self-paid share (ten-thousandths), by the catalog or as the till said.

    ``ceiling_fen``: the most that is recognised for the whole line; None: any amount.
    """

    line_no: int
    amount_fen: int
    category: str
    share: int
    ceiling_fen: int | None


class CounterMove(Struct, frozen=True, kw_only=True):
    """By how much (fen) a counter of a plan and insurance year is moved. Mirrors SQL type `counter_move`."""

    plan: str
    insurance_year: int
    counter: str
    fen: int


class PolicyRecord(Struct, frozen=True, kw_only=True):
    """By what the lines of one plan version and insurance year were judged, and what a refund needs to do so again.

    ``counter``, ``counter_year``: under what the covered amount is counted, if it is · ``counted``, ``balances``:
    counters and accounts just before, fen · ``moved``: what the lines add to counters.
    """

    plan: str
    version: str
    insurance_year: int
    group: str
    rule: str
    visit_type: str
    level: int
    lines: list[LineFacts]
    counter: str | None
    counter_year: int
    balances: dict[str, int]
    counted: dict[str, int]
    moved: list[CounterMove]


class StayPartOf(Struct, frozen=True, kw_only=True):
    """Of which stay, as it was at a version, a settlement is the interim or final one, or a deposit."""

    stay_id: uuid.UUID
    part: StayBill
    version: int


class HoldRequest(Struct, frozen=True, kw_only=True):
    """One settlement to hold (and, where no bank is needed, to post at once). Mirrors SQL type `settlement_request`."""

    person_id: int
    acceptance_date: dt.date
    settlement_id: uuid.UUID
    institution_id: str
    terminal_id: str
    card_id: int
    card_counter: int | None
    idempotency_key: str
    body_digest: str
    visit_no: str
    visit_type: str
    service_date: dt.date
    accepted_at: dt.datetime
    deadline_at: dt.datetime
    account_version: int
    bill_fen: int
    own_expense_fen: int
    pooled_fund_fen: int
    additional_fund_fen: int
    current_year_fen: int
    carried_over_fen: int
    deposit_fen: int
    bank_fen: int
    cash_fen: int
    lines: list[FeeLine]
    parts: list[SplitPart]
    policy: list[PolicyRecord] | None
    moved: list[CounterMove]
    stay: StayPartOf | None
    agreed: str
    on_bank_decline: str
    bank_notice: str | None
    consent: str | None
    bank_code: str | None
    issuer: str | None
    posting_date: dt.date
    lease_until: dt.datetime
    worker: str
    key_expires_at: dt.datetime


HoldOutcome = Literal[
    "held",
    "known",
    "key_reused",
    "tombstoned",
    "again",
    "card_changed",
    "counter_replayed",
    "already_settled",
    "stay_changed",
    "busy",
    "stale",
]


@dataclass(frozen=True, slots=True)
class HoldVerdict:
    """What became of a hold request. ``stale``: the person's accounts or counters have moved since they were read."""

    outcome: HoldOutcome
    key: SagaKey


class BankEvidence(Struct, frozen=True, kw_only=True):
    """What a bank said about a leg, or that it said nothing. Mirrors SQL type `bank_answer`."""

    person_id: int
    acceptance_date: dt.date
    saga_id: uuid.UUID
    outcome: str
    cause: str
    fence: int
    posting_date: dt.date
    response_code: str | None = None
    authorisation: str | None = None
    settlement_date: dt.date | None = None
    decline_code: str | None = None
    next_attempt_at: dt.datetime | None = None


class LineShare(Struct, frozen=True, kw_only=True):
    """What a payer pays of a line, or gets back of it, in fen."""

    line_no: int
    payer: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """What a refund of a bill that a plan judged is worked out from. Amounts in fen.

    ``shares``: who still pays what of each line · ``moved``: what the bill still adds to counters.
    """

    returned_fen: int
    bank_fen: int
    deposit_fen: int
    policy: list[PolicyRecord]
    shares: list[LineShare]
    moved: list[CounterMove]


class UndoOrder(Struct, frozen=True, kw_only=True):
    """A reversal or refund to open. Mirrors SQL type `undo_request`.

    ``lines``: of a refund, which lines and how much of each (fen; None: what is left); None for a reversal.
    ``verb``: what the bank's day of the debit still allows, ``void`` or ``refund``. Of a bill that a plan judged, a
    refund brings what it gives back: ``shares``, ``counters`` (fen) and ``own_expense_fen``, worked out when
    ``returned_before_fen`` had been returned.
    """

    kind: Literal["reversal", "refund"]
    institution_id: str
    terminal_id: str
    idempotency_key: str
    body_digest: str
    undo_id: uuid.UUID
    person_id: int
    acceptance_date: dt.date
    settlement_id: uuid.UUID
    reason: str
    verb: Literal["void", "refund"]
    lines: list[RefundLine] | None = None
    requested_at: dt.datetime
    posting_date: dt.date
    lease_until: dt.datetime
    worker: str
    key_expires_at: dt.datetime
    shares: list[LineShare] | None = None
    counters: list[CounterMove] | None = None
    own_expense_fen: int | None = None
    returned_before_fen: int | None = None


UndoOutcome = Literal[
    "opened",
    "turned",
    "known",
    "key_reused",
    "capture_first",
    "not_settled_yet",
    "taken_back",
    "exceeds_line",
    "again",
    "deposit_used",
]


@dataclass(frozen=True, slots=True)
class UndoVerdict:
    """What became of an undo order; ``saga_id`` is what stands for it.

    For ``exceeds_line``: which line, and what is left of it in fen (-1: the bill has no such line). For
    ``deposit_used``: what of the stay's deposits is not used (fen).
    """

    outcome: UndoOutcome
    saga_id: uuid.UUID
    line_no: int | None = None
    left_fen: int | None = None


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What an idempotency key was used for. ``key`` is None for a tombstone."""

    operation: Literal[
        "settlement", "reversal", "refund", "tombstone", "admission", "cancellation", "fees", "withdrawal"
    ]
    body_digest: bytes
    saga_id: uuid.UUID
    key: SagaKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLeg:
    """A bank leg with all that is needed to act on it; ``original_*`` is the identity of the debit that is meant."""

    key: SagaKey
    leg: str
    state: str
    verb: str
    amount_fen: int
    bank_code: str
    terminal_id: str
    transmitted: str
    trace: str
    reference: str
    original_transmitted: str
    original_trace: str
    original_reference: str
    attempts: int
    fence: int
    institution_id: str
    decision: str
    accepted_at: dt.datetime
    deadline_at: dt.datetime
    decided_at: dt.datetime | None
    response_code: str | None
    authorisation: str | None
    bank_settlement_date: dt.date | None
    pan_sealed: bytes
    person_id: int
    card_id: int


Row = Any
"""A database record: values by column name."""
