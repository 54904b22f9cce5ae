"""Taking bills back: reversals and refunds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from terminal_sdk.wire.base import PRINTABLE, IdempotencyKey, PositiveFen
from terminal_sdk.wire.bills import BankPart, Split


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
