"""Receipts of every kind, with the text that the service composes for them; amounts in fen."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from settlement.engine.receipts import receipt_text
from terminal_sdk.wire import BankPart, Receipt, ReceiptLine, Split

SETTLEMENT_ID = "01a20b36-5842-7da7-8bca-275b30410bf1"
REVERSAL_ID = "01a20b36-9c11-7e55-a0d3-6d0e4b7c2f91"
LONG_NAME = "注射用盐酸头孢替安(每瓶0.5g, 按无水物计)Cefotiam Hydrochloride for Injection"


def item(number: int, name: str, category: Any, amount_fen: int, quantity: str = "1") -> ReceiptLine:
    return ReceiptLine(line_no=number, item_name=name, category=category, quantity=quantity, amount_fen=amount_fen)


def split(*, current_year: int = 0, carried_over: int = 0, bank: int = 0, cash: int = 0, own_expense: int = 0) -> Split:
    return Split(
        total_fen=current_year + carried_over + bank + cash,
        own_expense_fen=own_expense,
        current_year_fen=current_year,
        carried_over_fen=carried_over,
        bank_fen=bank,
        cash_fen=cash,
    )


_BILL = [
    item(1, "阿莫西林胶囊", "A", 24_50, "2"),
    item(2, "二甲双胍缓释片(0.5g×30片/盒)", "B", 31_20, "1.5"),
    item(3, "进口营养补充剂", "C", 168_00),
]
_BANK = BankPart(
    bank="ICBC", amount_fen=173_70, state="posted", reference="000000000001", authorisation="A10293", response_code="00"
)
_PLAIN = Receipt(
    receipt_id=SETTLEMENT_ID,
    kind="settlement",
    settlement_id=SETTLEMENT_ID,
    institution_id="P31010100002",
    institution_name="便民药房",
    terminal_id="TILL0001",
    visit_no="ORDER-1",
    patient="张**",
    card_number="*****R1EN",
    service_date=dt.date(2026, 11, 24),
    posting_date=dt.date(2026, 11, 24),
    issued_at=dt.datetime(2026, 11, 24, 16, 40, 40, tzinfo=dt.UTC),
    lines=_BILL,
    split=split(current_year=30_00, carried_over=20_00, bank=173_70, own_expense=168_00),
    bank=_BANK,
    text="",
)


def composed(**changes: Any) -> Receipt:
    """A settlement's receipt with these fields in place of its own, and its text."""
    receipt = msgspec.structs.replace(_PLAIN, **changes)
    return msgspec.structs.replace(receipt, text=receipt_text(receipt, "工商银行"))


def settled() -> Receipt:
    return composed()


def reversed_() -> Receipt:
    return composed(receipt_id=REVERSAL_ID, kind="reversal")


def cash_rest() -> Receipt:
    """The patient chose to pay the remainder in cash."""
    return composed(bank=None, split=split(current_year=30_00, cash=193_70, own_expense=168_00))


def bank_refused() -> Receipt:
    """The bank declined, and the till had asked for cash in that case."""
    declined = BankPart(bank="ICBC", amount_fen=0, state="declined", reference="000000000007", response_code="51")
    return composed(bank=declined, bank_notice="BANK_INSUFFICIENT_FUNDS", split=split(current_year=30_00, cash=193_70))


def no_account() -> Receipt:
    return composed(bank=None, bank_notice="NO_BANK_ACCOUNT", split=split(current_year=30_00, cash=193_70))


def long_bill(count: int = 40) -> Receipt:
    """Names that need several rows, the widest amounts, numbers of full length."""
    lines = [
        item(number, LONG_NAME if number % 3 else f"第{number}项 一次性使用输液器", "ABC"[number % 3], number * 11_111)
        for number in range(1, count)
    ]
    rest = 100_000_000_000 - sum(line.amount_fen for line in lines)
    lines.append(item(count, "质子治疗" * 25, "C", rest, "123456789.1234"))
    return composed(
        institution_name="上海市第一人民医院(北部)国际医疗保健中心暨互联网医院门诊药房",
        visit_no="MZ2026112400000123/0001-2026.11.24.00001",
        patient="J*** v** d** B********** d** W********* O******** S*****",
        lines=lines,
        split=split(current_year=100_000_000, bank=99_900_000_000),
    )


EVERY_KIND = {
    "settlement": settled,
    "reversal": reversed_,
    "cash": cash_rest,
    "bank-refused": bank_refused,
    "no-account": no_account,
    "long": long_bill,
}
