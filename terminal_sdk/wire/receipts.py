"""Receipts as data and as text."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from msgspec import Struct

from terminal_sdk.wire.base import Category
from terminal_sdk.wire.bills import BankPart, PlanUsed, Split


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
