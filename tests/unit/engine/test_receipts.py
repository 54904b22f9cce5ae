"""The printed receipt: what stands on it, that it fits the paper, and that nothing of it is lost on the way."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from settlement.engine.declines import DECLINES
from settlement.engine.receipts import receipt_text, yuan
from terminal_sdk.receipt.grid import WIDTH, columns
from terminal_sdk.wire import MAX_FEN, Receipt
from tests.support.receipts import (
    EVERY_KIND,
    LONG_NAME,
    REVERSAL_ID,
    SETTLEMENT_ID,
    bank_refused,
    cash_rest,
    composed,
    item,
    long_bill,
    no_account,
    reversed_,
    settled,
    split,
)


def test_a_receipt_as_it_is_printed() -> None:
    assert (
        settled().text
        == """\
                    便民药房
                   医保结算单
------------------------------------------------
单号 01a20b36-5842-7da7-8bca-275b30410bf1
时间 2026-11-25 00:40:40
机构 P31010100002                  终端 TILL0001
就诊号 ORDER-1
姓名 张**                         卡号 *****R1EN
服务日期 2026-11-24          入账日期 2026-11-24
------------------------------------------------
类 项目                        数量     金额(元)
甲 阿莫西林胶囊                   2        24.50
乙 二甲双胍缓释片(0.5g×30      1.5        31.20
   片/盒)
丙 进口营养补充剂                 1       168.00
------------------------------------------------
合计(3项)                                 223.70
当年账户支付                               30.00
历年账户支付                               20.00
银行卡支付                                173.70
其中自费(丙类)                            168.00
------------------------------------------------
银行 工商银行                参考号 000000000001
授权号 A10293
"""
    )


@pytest.mark.parametrize("make", EVERY_KIND.values(), ids=EVERY_KIND.keys())
def test_every_row_fits_the_paper_and_every_amount_ends_at_its_edge(make: Callable[[], Receipt]) -> None:
    rows = make().text.splitlines()
    assert max(columns(row) for row in rows) == WIDTH
    amounts = [row for row in rows if re.search(r"\d\.\d\d$", row)]
    assert len(amounts) >= 5
    assert {columns(row) for row in amounts} == {WIDTH}


def test_nothing_is_cut() -> None:
    receipt = long_bill()
    printed = re.sub(r"\s", "", receipt.text)
    for whole in (receipt.institution_name, receipt.visit_no, receipt.patient, receipt.receipt_id):
        assert whole.replace(" ", "") in printed
    # Between the first row of a long name and its next stand the quantity and the amount.
    assert printed.count(re.sub(r"\s", "", LONG_NAME.removeprefix("注射用盐酸头孢替安(每瓶"))) == 26
    assert printed.count("质子治疗") == 25
    assert "123456789.1234 " in receipt.text
    assert yuan(MAX_FEN) in receipt.text


def test_a_number_or_word_is_not_torn_apart() -> None:
    assert "\n   0.5g, 按无水物计)Cefotiam Hydrochloride for\n   Injection\n" in long_bill().text


def test_a_reversal_says_so_and_names_the_settlement_it_takes_back() -> None:
    text = reversed_().text
    assert "医保结算冲正单\n" in text
    assert "*** 冲正: 原结算已撤销, 款项退回 ***\n" in text
    assert f"单号 {REVERSAL_ID}\n原单号 {SETTLEMENT_ID}\n" in text
    amounts = re.findall(r" (-?\d+\.\d\d)$", text, re.MULTILINE)
    assert len(amounts) == 8
    assert all(amount.startswith("-") for amount in amounts)
    assert "冲正" not in settled().text
    assert "原单号" not in settled().text


def test_only_who_paid_is_named() -> None:
    text = cash_rest().text
    assert re.search(r"^现金支付 +193\.70$", text, re.MULTILINE)
    for other in ("银行", "历年账户", "参考号"):
        assert other not in text
    assert "现金" not in settled().text


def test_a_bank_that_did_not_pay_is_explained() -> None:
    assert text_after_rule(no_account()) == "银行卡未扣款: 本卡无银行账户\n"


def test_what_the_bank_says_of_the_account_is_not_printed() -> None:
    assert text_after_rule(bank_refused()) == "银行卡未扣款: 银行未受理\n"
    assert "ICBC" not in bank_refused().text


@pytest.mark.parametrize("code", [*DECLINES, "A_CODE_TO_COME"])
def test_no_code_reaches_the_paper(code: str) -> None:
    text = composed(bank=None, bank_notice=code, split=split(cash=1)).text
    assert "银行卡未扣款: " in text
    assert code not in text


def test_a_notice_is_not_printed_where_nothing_was_left_to_pay() -> None:
    assert "未扣款" not in composed(bank=None, bank_notice="NO_BANK_ACCOUNT", split=split(current_year=1)).text


def test_the_banks_code_stands_in_for_a_name_that_is_not_known() -> None:
    assert "\n银行 ICBC " in receipt_text(settled())


def test_marks_without_room_of_their_own_do_not_shift_the_amounts() -> None:
    text = composed(lines=[item(1, "e\u0301clair\u200b\u202e\ufe0f q\u0301", "A", 100)]).text
    (row,) = [each for each in text.splitlines() if "clair" in each]
    assert row.startswith("甲 éclair q ")
    assert len(row) == WIDTH - 2  # 甲 and é take two columns each


def test_yuan() -> None:
    assert [yuan(0), yuan(5), yuan(100), yuan(-105)] == ["0.00", "0.05", "1.00", "-1.05"]


def text_after_rule(receipt: Receipt) -> str:
    return receipt.text.rsplit("-" * WIDTH + "\n", 1)[1]
