"""What several messages are made of: amounts, keys, cards and their proofs, fee lines."""

from __future__ import annotations

from typing import Annotated, Literal

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
