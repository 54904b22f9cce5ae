"""The printable receipt: rows of 48 columns for 80 mm paper, one layout for every printer and for PDF."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from settlement.businessdate import SHANGHAI
from terminal_sdk.receipt.grid import WIDTH, columns, wrap
from terminal_sdk.wire import BankPart, Receipt, ReceiptLine

_RULE = "-" * WIDTH
_CLASSES = {"A": "甲", "B": "乙", "C": "丙"}
_NAME_STARTS = 3
_QUANTITY_COLUMNS = 7
_AMOUNT_COLUMNS = 12
_TITLES = {
    "settlement": ("医保结算单",),
    "reversal": ("医保结算冲正单", "*** 冲正: 原结算已撤销, 款项退回 ***"),
    "refund": ("医保结算退费单", "*** 退费: 下列项目款项退回 ***"),
}
_NOT_PRINTED = {"Cf", "Mn", "Me"}

_RULES = {
    "own_expense": "自费(丙类)",
    "above_price_ceiling": "超限价",
    "self_paid_share": "乙类先自付",
    "account_first": "账户先付",
    "deductible": "自负段",
    "pooled_fund": "统筹段",
    "additional_fund": "附加段",
    "above_ceiling": "封顶线以上",
    "remainder": "其余",
}
_PAYERS = {
    "pooled_fund": "统筹基金",
    "additional_fund": "附加基金",
    "current_year": "当年账户",
    "carried_over": "历年账户",
    "deposit": "预交金",
    "bank": "银行卡",
    "cash": "现金",
}

_NOTICES = {
    "NO_BANK_ACCOUNT": "本卡无银行账户",
    "FINANCIAL_NOT_ACTIVE": "金融功能未激活",
    "FINANCIAL_FROZEN": "金融功能已冻结",
    "BANK_UNAVAILABLE": "银行暂时无法联系",
}
# Receipts are shown to employers and insurers: what a bank says of the patient's account stays out of them.
_BANK_REFUSED = "银行未受理"


def yuan(amount_fen: int) -> str:
    """An amount for print: yuan with two decimals."""
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100}.{abs(amount_fen) % 100:02d}"


def receipt_text(receipt: Receipt, bank_name: str | None = None) -> str:
    """The text of a receipt, from all its fields but ``text``; what goes back stands with a minus sign.

    ``bank_name`` is printed in place of the bank's code. Nothing is cut: what does not fit goes on in another row.
    """
    parts = (
        _head(receipt),
        _circumstances(receipt),
        _bill(receipt),
        _payers(receipt),
        _explanation(receipt),
        _bank(receipt, bank_name),
    )
    blocks = ["".join(f"{row}\n" for row in part) for part in parts]
    return f"{_RULE}\n".join(block for block in blocks if block)


def _head(receipt: Receipt) -> Iterator[str]:
    for piece in wrap(_printed(receipt.institution_name)):
        yield _centred(piece)
    for row in _TITLES[receipt.kind]:
        yield _centred(row)


def _circumstances(receipt: Receipt) -> Iterator[str]:
    yield f"单号 {receipt.receipt_id}"
    if receipt.kind != "settlement":
        yield f"原单号 {receipt.settlement_id}"
    yield f"时间 {receipt.issued_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
    yield from _pair(f"机构 {receipt.institution_id}", f"终端 {receipt.terminal_id}")
    yield from wrap(f"就诊号 {receipt.visit_no}")
    yield from _pair(f"姓名 {_printed(receipt.patient)}", f"卡号 {receipt.card_number}")
    yield from _pair(f"服务日期 {receipt.service_date}", f"入账日期 {receipt.posting_date}")


def _bill(receipt: Receipt) -> Iterator[str]:
    yield from _columns("类", "项目", "数量", "金额(元)")
    for line in receipt.lines:
        yield from _item(line, _sign(receipt))


def _item(line: ReceiptLine, sign: int) -> Iterator[str]:
    yield from _columns(_CLASSES[line.category], _printed(line.item_name), line.quantity, yuan(sign * line.amount_fen))


def _payers(receipt: Receipt) -> Iterator[str]:
    split = receipt.split
    yield _row(f"合计({len(receipt.lines)}项)", yuan(_sign(receipt) * split.total_fen))
    for label, amount_fen in (
        ("统筹基金支付", split.pooled_fund_fen),
        ("附加基金支付", split.additional_fund_fen),
        ("当年账户支付", split.current_year_fen),
        ("历年账户支付", split.carried_over_fen),
        ("预交金抵扣", split.deposit_fen),
        ("银行卡支付", split.bank_fen),
        ("现金支付", split.cash_fen),
        ("其中自费(丙类)", split.own_expense_fen),
    ):
        if amount_fen:
            yield _row(label, yuan(_sign(receipt) * amount_fen))


def _explanation(receipt: Receipt) -> Iterator[str]:
    """By which rule of the plan who paid how much, over all lines; of an undo the bill's own receipt tells."""
    if not receipt.plans or receipt.kind != "settlement":
        return
    for used in receipt.plans:
        yield from wrap(f"医保方案 {used.plan} {used.version}, 年度 {used.insurance_year}")
        yield from wrap(f"结算规则 {_printed(used.rule)}")
    amounts: dict[tuple[str, str], int] = {}
    for part in receipt.split.parts:
        amounts[part.rule, part.payer] = amounts.get((part.rule, part.payer), 0) + part.amount_fen
    for (rule, payer), amount_fen in amounts.items():
        band = rule.rpartition("/")[2]  # of the rule that the plan has for this visit, which stands above
        yield from _pair(f" {_printed(_RULES.get(band, band))}: {_PAYERS[payer]}", yuan(amount_fen))


def _bank(receipt: Receipt, bank_name: str | None) -> Iterator[str]:
    if receipt.insurance_notice is not None:
        yield "医保功能已冻结, 经本人同意未使用医保账户"
    if receipt.bank is not None and receipt.split.bank_fen:
        yield from _bank_leg(receipt.bank, bank_name)
    elif receipt.bank_notice is not None and receipt.split.cash_fen:
        yield f"银行卡未扣款: {_NOTICES.get(receipt.bank_notice, _BANK_REFUSED)}"


def _bank_leg(bank: BankPart, name: str | None) -> Iterator[str]:
    yield from _pair(f"银行 {_printed(name or bank.bank)}", f"参考号 {bank.reference}")
    if bank.authorisation:
        yield f"授权号 {bank.authorisation}"


def _sign(receipt: Receipt) -> int:
    return 1 if receipt.kind == "settlement" else -1


def _columns(category: str, name: str, quantity: str, amount: str) -> Iterator[str]:
    """One item: its name goes on below itself where it is long, the figures stand beside its first row."""
    figures = f"{_right(quantity, _QUANTITY_COLUMNS)} {_right(amount, _AMOUNT_COLUMNS)}"
    first, *more = wrap(name, WIDTH - _NAME_STARTS, first=WIDTH - _NAME_STARTS - columns(figures) - 1)
    yield _row(f"{category} {first}", figures)
    for piece in more:
        yield " " * _NAME_STARTS + piece


def _right(text: str, width: int) -> str:
    return " " * (width - columns(text)) + text


def _row(left: str, right: str) -> str:
    return left + _right(right, WIDTH - columns(left))


def _pair(left: str, right: str) -> list[str]:
    """Two facts in one row where they fit, else below each other."""
    if columns(left) + 1 + columns(right) <= WIDTH:
        return [_row(left, right)]
    return [*wrap(left), *wrap(right)]


def _centred(text: str) -> str:
    return " " * ((WIDTH - columns(text)) // 2) + text


def _printed(text: str) -> str:
    """Without what takes no room of its own on paper: marks are joined to their letters, joiners and the like go."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(each for each in composed if unicodedata.category(each) not in _NOT_PRINTED)
