"""The printed receipt fits its paper and shows amounts in yuan."""

from __future__ import annotations

import datetime as dt

from settlement.engine.receipts import WIDTH, columns, receipt_text, yuan
from terminal_sdk.wire import BankPart, ReceiptLine, Split

SPLIT = Split(
    total_fen=12_345, own_expense_fen=345, current_year_fen=10_000, carried_over_fen=2_000, bank_fen=345, cash_fen=0
)


def text(kind: str) -> str:
    return receipt_text(
        kind=kind,
        receipt_id="0190-1",
        institution_name="上海市第一人民医院" * 4,
        institution_id="H31010100001",
        terminal_id="T0000001",
        visit_no="V1",
        patient="张**",
        card_number="*****5678",
        service_date=dt.date(2026, 3, 2),
        posting_date=dt.date(2026, 3, 2),
        issued_at=dt.datetime(2026, 3, 2, 16, 30, tzinfo=dt.UTC),
        lines=[ReceiptLine(line_no=1, item_name="阿莫西林胶囊" * 9, category="A", quantity="2", amount_fen=12_345)],
        split=SPLIT,
        bank=BankPart(bank="ICBC", amount_fen=345, state="posted", reference="000000000001"),
    )


def test_no_line_is_wider_than_the_paper() -> None:
    assert max(columns(line) for line in text("settlement").splitlines()) <= WIDTH


def test_amounts_and_local_time() -> None:
    printed = text("settlement")
    assert "123.45" in printed
    assert "2026-03-03 00:30:00" in printed
    assert "-123.45" in text("reversal")


def test_yuan() -> None:
    assert [yuan(0), yuan(5), yuan(100), yuan(-105)] == ["0.00", "0.05", "1.00", "-1.05"]
