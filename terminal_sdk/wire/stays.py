"""Inpatient stays: admission, fees, trial, settlements, deposits."""

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
    VisitNo,
)

StayType = Literal["inpatient", "home_sickbed"]
StayPart = Literal["interim", "final"]
StayBill = Literal["interim", "final", "deposit"]
"""The settlements of a stay; a deposit 预交金 is one too, which the bank account pays before there are fees."""
StayState = Literal["admitted", "discharging", "discharged", "cancelled"]
"""admitted: fees may come · discharging: the final settlement is not final yet · discharged: it is settled; taken back,
the stay is admitted again · cancelled: the admission was taken back."""


class StayLine(FeeLine, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fee line of a stay, with the day of the service. Numbers above 99,000 are those of deposits."""

    line_no: Annotated[int, Meta(ge=1, le=99_000)]
    service_date: dt.date


class AdmissionRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Admit a patient. ``stay_no``: the institution's number of the stay; each stands for one stay."""

    idempotency_key: IdempotencyKey
    stay_no: VisitNo
    visit_type: StayType
    card: CardRef
    admitted_on: dt.date


class FeesRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A batch of a stay's fees; line numbers are unique in the stay. A stay may have 20,000 lines."""

    idempotency_key: IdempotencyKey
    lines: Annotated[list[StayLine], Meta(min_length=1, max_length=3000)]
    total_fen: PositiveFen


class WithdrawalRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a batch of fees back."""

    idempotency_key: IdempotencyKey


class CancellationRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take an admission back."""

    idempotency_key: IdempotencyKey


class TrialRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask who would pay what of a stay's open fees. ``through``: up to this service date; null: all of them."""

    card: CardRef
    through: dt.date | None = None
    remainder: Remainder = "bank"
    consent: Consent | None = None


class StaySettlementRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settle a stay's open fees. ``total_fen``: their sum as the institution knows it; the card's proof names the
    stay's number and this total. ``through``: up to this service date, of an interim settlement only. The rest as in
    ``SettlementRequest``.
    """

    idempotency_key: IdempotencyKey
    part: StayPart
    card: CardRef
    total_fen: PositiveFen
    proof: Proof
    through: dt.date | None = None
    quote: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    bank_ceiling_fen: Fen | None = None
    remainder: Remainder = "bank"
    consent: Consent | None = None
    on_bank_decline: OnBankDecline = "release"
    pin_block: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None = None
    deadline_ms: Annotated[int, Meta(ge=1_000, le=150_000)] = 150_000
    wait_ms: Annotated[int, Meta(ge=0, le=30_000)] = 10_000


class DepositRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a deposit for a stay from the patient's bank account. The card's proof names the stay's number, this amount
    as the total, and ``ceiling:<amount_fen>`` as what was agreed. The rest as in ``SettlementRequest``.
    """

    idempotency_key: IdempotencyKey
    card: CardRef
    amount_fen: PositiveFen
    proof: Proof
    pin_block: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None = None
    deadline_ms: Annotated[int, Meta(ge=1_000, le=150_000)] = 150_000
    wait_ms: Annotated[int, Meta(ge=0, le=30_000)] = 10_000


class StayBatch(Struct, frozen=True, kw_only=True):
    """A batch of fees, in fen."""

    batch_no: int
    lines: int
    total_fen: int
    uploaded_at: dt.datetime
    withdrawn: bool


class StaySettlement(Struct, frozen=True, kw_only=True):
    """A settlement of a stay that is open or stands; what was declined or taken back is left out."""

    settlement_id: str
    part: StayBill
    settled: bool


class Stay(Struct, frozen=True, kw_only=True):
    """A stay. ``open_lines``, ``open_fen``: what is still to be settled · ``deposit_left_fen``: what of its deposits
    was neither used nor given back.
    """

    stay_id: str
    stay_no: str
    visit_type: StayType
    state: StayState
    admitted_on: dt.date
    batches: list[StayBatch]
    open_lines: int
    open_fen: int
    settlements: list[StaySettlement]
    deposit_left_fen: int = 0
