"""A bill from quote to settlement."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta, Struct

from terminal_sdk.wire.base import (
    CardRef,
    Consent,
    FeeLine,
    Fen,
    IdempotencyKey,
    OnBankDecline,
    PositiveFen,
    Proof,
    Remainder,
    SettlementState,
    VisitNo,
    VisitType,
)


class QuoteRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask who would pay what for this bill. Changes nothing."""

    visit_no: VisitNo
    visit_type: VisitType
    service_date: dt.date
    card: CardRef
    lines: Annotated[list[FeeLine], Meta(min_length=1, max_length=3000)]
    total_fen: PositiveFen
    remainder: Remainder = "bank"
    consent: Consent | None = None


Payer = Literal["pooled_fund", "additional_fund", "current_year", "carried_over", "deposit", "bank", "cash"]
"""The insurance funds, the person's two insurance accounts, the deposit of a stay, the bank account, cash."""


class SplitPart(Struct, frozen=True, kw_only=True):
    """Which rule gave which amount (fen) of a line to whom.

    Of what a refund returns, an amount may be below zero: without the refunded lines a kept one is paid otherwise.
    """

    line_no: int
    rule: str
    payer: Payer
    amount_fen: int


class Split(Struct, frozen=True, kw_only=True):
    """Who pays what, in fen. The seven payers sum to ``total_fen``; ``own_expense_fen`` is the class C share of it."""

    total_fen: int
    own_expense_fen: int
    current_year_fen: int
    carried_over_fen: int
    bank_fen: int
    cash_fen: int
    pooled_fund_fen: int = 0
    additional_fund_fen: int = 0
    deposit_fen: int = 0
    parts: list[SplitPart] = []


class PlanUsed(Struct, frozen=True, kw_only=True):
    """By which plan of the medical insurance a bill was judged: that of its service date, also when it is refunded.

    ``insurance_year``: named by the calendar year in which it begins · ``group``: as whom the person is insured ·
    ``rule``: the plan's rule for this kind of visit.
    """

    plan: str
    version: str
    insurance_year: int
    group: str
    rule: str


class BalanceAfter(Struct, frozen=True, kw_only=True):
    """What would be left on the insurance accounts, in fen."""

    current_year_fen: int
    carried_over_fen: int


class Quote(Struct, frozen=True, kw_only=True):
    """An offer: ``token`` is handed back with the settlement, ``digest`` is what the card signs.

    ``bank_notice`` says why a bank account is not asked although a remainder exists (an error code), else null;
    ``insurance_notice`` why the insurance accounts pay nothing, by the patient's consent. ``plans`` is empty
    where no plan covers the person: then the insurance accounts pay first, and no fund does.
    """

    token: str
    digest: str
    split: Split
    balance_after: BalanceAfter
    bank_notice: str | None
    expires_at: dt.datetime
    insurance_notice: str | None = None
    plans: list[PlanUsed] = []


class SettlementRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settle one bill. Exactly one of ``quote`` and ``bank_ceiling_fen`` says what the patient agreed to.

    ``deadline_ms``: when this time has passed with the bank's answer unknown, the service turns back for good.
    ``wait_ms``: how long the service may hold the answer back before it says 202.
    """

    idempotency_key: IdempotencyKey
    visit_no: VisitNo
    visit_type: VisitType
    service_date: dt.date
    card: CardRef
    lines: Annotated[list[FeeLine], Meta(min_length=1, max_length=3000)]
    total_fen: PositiveFen
    proof: Proof
    quote: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    bank_ceiling_fen: Fen | None = None
    remainder: Remainder = "bank"
    consent: Consent | None = None
    on_bank_decline: OnBankDecline = "release"
    pin_block: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None = None
    deadline_ms: Annotated[int, Meta(ge=1_000, le=150_000)] = 150_000
    wait_ms: Annotated[int, Meta(ge=0, le=30_000)] = 10_000


class Decline(Struct, frozen=True, kw_only=True):
    """Why nothing was charged. ``bank_code`` is the bank's own response code, kept as it came."""

    code: str
    message: str
    bank_code: str | None = None


class BankPart(Struct, frozen=True, kw_only=True):
    """The bank's side of a settlement. ``reference`` is the retrieval reference (field 37)."""

    bank: str
    amount_fen: int
    state: str
    reference: str
    authorisation: str | None = None
    response_code: str | None = None


class Settlement(Struct, frozen=True, kw_only=True):
    """What became of a bill. ``final`` false means: ask again at ``GET /v1/settlements/{id}``.

    ``returned_fen``: what refunds and a reversal have given back or are about to; never more than the bill.
    """

    settlement_id: str
    idempotency_key: str
    visit_no: str
    state: SettlementState
    final: bool
    split: Split
    accepted_at: dt.datetime
    deadline_at: dt.datetime
    posting_date: dt.date | None
    bank: BankPart | None
    bank_notice: str | None
    decline: Decline | None
    receipt_id: str | None
    reversal_id: str | None
    returned_fen: int = 0
    refund_ids: list[str] = []
    insurance_notice: str | None = None
    plans: list[PlanUsed] = []
