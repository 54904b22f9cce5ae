"""The printable receipt: 48 columns for 80 mm paper; Chinese characters count two columns; names and numbers masked."""

from __future__ import annotations

import datetime as dt
import unicodedata

from settlement.businessdate import SHANGHAI
from terminal_sdk.wire import BankPart, ReceiptLine, Split

WIDTH = 48
_RULE = "-" * WIDTH


def yuan(amount_fen: int) -> str:
    """An amount for print: yuan with two decimals."""
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d}"


def columns(text: str) -> int:
    """How many columns a printer gives the text: two for wide (Chinese) characters."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _cut(text: str, width: int) -> str:
    kept = ""
    for each in text:
        if columns(kept + each) > width:
            break
        kept += each
    return kept


def _row(left: str, right: str) -> str:
    left = _cut(left, WIDTH - columns(right) - 1)
    return left + " " * (WIDTH - columns(left) - columns(right)) + right


def _centre(text: str) -> str:
    text = _cut(text, WIDTH)
    return " " * ((WIDTH - columns(text)) // 2) + text


def receipt_text(
    *,
    kind: str,
    receipt_id: str,
    institution_name: str,
    institution_id: str,
    terminal_id: str,
    visit_no: str,
    patient: str,
    card_number: str,
    service_date: dt.date,
    posting_date: dt.date,
    issued_at: dt.datetime,
    lines: list[ReceiptLine],
    split: Split,
    bank: BankPart | None,
) -> str:
    """The receipt as text; for a reversal the amounts stand with a minus sign."""
    sign = -1 if kind == "reversal" else 1
    local = issued_at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    out = [
        _centre(institution_name),
        _centre("医保结算单" if sign > 0 else "医保结算冲正单"),
        _RULE,
        _row(f"就诊号 {visit_no}", f"终端 {terminal_id}"),
        _row(f"姓名 {patient}", f"卡号 {card_number}"),
        _row(f"服务日期 {service_date}", f"入账日期 {posting_date}"),
        _RULE,
    ]
    classes = {"A": "甲", "B": "乙", "C": "丙"}
    for line in lines:
        amount = yuan(sign * line.amount_fen)
        out.append(_row(f"{classes[line.category]} {line.item_name} ×{line.quantity}", amount))
    out += [_RULE, _row("合计", yuan(sign * split.total_fen))]
    for label, amount_fen in (
        ("当年账户支付", split.current_year_fen),
        ("历年账户支付", split.carried_over_fen),
        ("银行卡支付", split.bank_fen),
        ("现金", split.cash_fen),
    ):
        if amount_fen:
            out.append(_row(label, yuan(sign * amount_fen)))
    if split.own_expense_fen:
        out.append(_row("其中自费(丙类)", yuan(sign * split.own_expense_fen)))
    if bank is not None and split.bank_fen:
        out += [_row(f"银行 {bank.bank}", f"参考号 {bank.reference}")]
    out += [_RULE, f"机构 {institution_id}", f"单号 {receipt_id}", f"时间 {local}"]
    return "\n".join(out) + "\n"
