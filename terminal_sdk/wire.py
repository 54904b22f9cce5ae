"""The messages between terminal and service: one typed structure each, shared by both sides and by the OpenAPI page."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

MAX_FEN = 100_000_000_000
"""The largest amount one bill may have, in fen (one thousand million yuan)."""

Fen = Annotated[int, Meta(ge=0, le=MAX_FEN, description="An amount in fen (1/100 CNY).")]
PositiveFen = Annotated[int, Meta(ge=1, le=MAX_FEN, description="An amount in fen (1/100 CNY), not zero.")]
IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.:-]+$(?!\n)",
        description="Made by the terminal and written durably before the first send; unique in its institution.",
    ),
]
VisitNo = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        pattern=r"^[A-Za-z0-9_./-]+$(?!\n)",
        description="The institution's number of the visit or pharmacy order; each of its lines settles once.",
    ),
]
CardNumber = Annotated[
    str, Meta(pattern=r"^[A-Z0-9]{9}$(?!\n)", description="Social security card number (EF05, tag 07).")
]
TerminalId = Annotated[str, Meta(pattern=r"^[A-Z0-9]{8}$(?!\n)", description="Eight characters, as in field 41.")]
Hex = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2})*$(?!\n)", max_length=4096)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="SM3, lower-case hex.")]
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$(?!\n)"
"""At least one character and no control characters: these texts are printed on receipts."""
Category = Literal["A", "B", "C"]
"""Catalog class of a fee line: A = 甲, B = 乙, C = 丙 (own expense: never on insurance)."""
VisitType = Literal["outpatient", "emergency", "pharmacy"]
Remainder = Literal["bank", "cash"]
OnBankDecline = Literal["release", "cash"]
Consent = Literal["without_insurance"]
"""What the patient agreed to besides the amount. without_insurance: while the card's insurance side is frozen, the bank
account (or cash) pays the whole bill. It has no effect on a card that is not frozen: insurance always pays first."""
SettlementState = Literal["pending", "settled", "declined", "reversing", "reversed"]
"""pending: not yet known · settled: paid, receipt valid · declined: nothing was charged · reversing: taken back,
the bank is still being told · reversed: taken back everywhere. pending and reversing are not final."""


class FeeLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the bill. ``amount_fen`` is the line's whole amount; ``quantity`` is for print only."""

    line_no: Annotated[int, Meta(ge=1, le=100_000)]
    item_code: Annotated[str, Meta(max_length=32, pattern=PRINTABLE)]
    item_name: Annotated[str, Meta(max_length=100, pattern=PRINTABLE)]
    category: Category
    amount_fen: Fen
    quantity: Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,4})?$(?!\n)")] = "1"


class CardRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which card lies in the reader. A third-generation card names its certificate (SM3 of the DER form)."""

    card_number: CardNumber
    certificate_fingerprint: Digest | None = None


class CardProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sm2", tag_field="kind"):
    """A third-generation card's SM2 signature over the settlement challenge (see ``signing``)."""

    counter: Annotated[int, Meta(ge=1, le=0xFFFFFFFF, description="The card's counter; it only rises.")]
    signed_at_ms: Annotated[int, Meta(ge=0, le=9_999_999_999_999)]
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)", description="r‖s in hex.")]


class LegacyProof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="legacy", tag_field="kind"):
    """A legacy card's static data and its keyed check value; it can never reach a bank account."""

    static_data: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2})+$(?!\n)", max_length=1024)]
    check_value: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]


Proof = CardProof | LegacyProof


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


class ReversalRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a settlement back whole. Never refused for being early, late or repeated."""

    idempotency_key: IdempotencyKey
    reason: Annotated[str, Meta(max_length=100, pattern=PRINTABLE)] = "till"


class ReversalByKeyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take back the settlement sent under ``original_idempotency_key``, also one that never arrived."""

    idempotency_key: IdempotencyKey
    original_idempotency_key: IdempotencyKey
    reason: Annotated[str, Meta(max_length=100, pattern=PRINTABLE)] = "till"


class Reversal(Struct, frozen=True, kw_only=True):
    """What became of a reversal. ``settlement_id`` is null for a tombstone: the original had not arrived."""

    reversal_id: str
    idempotency_key: str
    settlement_id: str | None
    state: Literal["reversing", "reversed"]
    final: bool
    returned: Split | None
    bank: BankPart | None
    receipt_id: str | None


class RefundLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which fee line is refunded, and how much of it; without ``amount_fen``: all that is left of it."""

    line_no: Annotated[int, Meta(ge=1, le=100_000)]
    amount_fen: PositiveFen | None = None


class RefundRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give lines of a settled bill back, whole or in part. Several refunds may follow each other, up to the bill."""

    idempotency_key: IdempotencyKey
    lines: Annotated[list[RefundLine], Meta(min_length=1, max_length=3000)]
    reason: Annotated[str, Meta(max_length=100, pattern=PRINTABLE)] = "till"


class Refund(Struct, frozen=True, kw_only=True):
    """What became of a refund. ``returned``: who gets how much back, its ``parts`` line by line.

    refunding: the bank is still being told; what is ours is back already · refunded: done, the receipt is valid.
    """

    refund_id: str
    idempotency_key: str
    settlement_id: str
    state: Literal["refunding", "refunded"]
    final: bool
    returned: Split
    bank: BankPart | None
    receipt_id: str | None


class ReceiptLine(Struct, frozen=True, kw_only=True):
    """One printed line of the bill."""

    line_no: int
    item_name: str
    category: Category
    quantity: str
    amount_fen: int


class Receipt(Struct, frozen=True, kw_only=True):
    """The receipt as data and as printable text (48 columns, 80 mm paper). Names and numbers are masked.

    Of a reversal or refund, ``lines`` and ``split`` say what goes back.

    ``bank_notice`` says why no bank account paid the remainder (a code, as in ``Settlement``), else null;
    ``insurance_notice`` why no insurance account paid.
    """

    receipt_id: str
    kind: Literal["settlement", "reversal", "refund"]
    settlement_id: str
    institution_id: str
    institution_name: str
    terminal_id: str
    visit_no: str
    patient: str
    card_number: str
    service_date: dt.date
    posting_date: dt.date
    issued_at: dt.datetime
    lines: list[ReceiptLine]
    split: Split
    bank: BankPart | None
    bank_notice: str | None = None
    insurance_notice: str | None = None
    plans: list[PlanUsed] = []
    text: str


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


class EnrolRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new terminal's certificate request (PEM), with the one-time code its operator was given."""

    terminal_id: TerminalId
    enrolment_code: Annotated[str, Meta(min_length=8, max_length=64)]
    csr_pem: Annotated[str, Meta(max_length=8192)]


class Enrolment(Struct, frozen=True, kw_only=True):
    """The terminal's certificate and the chain that issued it, PEM."""

    terminal_id: str
    institution_id: str
    certificate_pem: str
    ca_pem: str


class ChallengeRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a sign-in challenge."""

    terminal_id: TerminalId


class Challenge(Struct, frozen=True, kw_only=True):
    """A challenge to sign with the terminal's key; short-lived."""

    challenge: str
    expires_at: dt.datetime


class SignInRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """签到: the challenge, signed by the terminal's SM2 key (see ``signing.sign_in_message``)."""

    terminal_id: TerminalId
    challenge: Annotated[str, Meta(max_length=512)]
    certificate_fingerprint: Digest
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]


class Session(Struct, frozen=True, kw_only=True):
    """A day's session. ``sealed_keys``: SM2 ciphertext (hex) of MAC key (32 bytes) ‖ PIN key (16 bytes)."""

    session_id: str
    terminal_id: str
    institution_id: str
    sealed_keys: str
    expires_at: dt.datetime
    server_time_ms: int


class ErrorDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal: stable ``code``, what to do in ``message``, the field that is wrong where there is one."""

    code: str
    message: str
    field: str | None = None
    retry_after_ms: int | None = None
    settlement_id: str | None = None
    quote: Quote | None = None


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The body of every 4xx and 5xx answer."""

    error: ErrorDetail


def encode(message: Struct) -> bytes:
    """The JSON bytes of a message; the same message always gives the same bytes."""
    return msgspec.json.encode(message)
