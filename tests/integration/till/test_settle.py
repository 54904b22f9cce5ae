"""Bills paid from the command line, at a pharmacy and at a hospital desk: every way to agree, every way it can end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.till.conftest import LINE, PIN, NewTill

RESULT_KEYS = {
    "refund",
    "outcome",
    "exit_code",
    "final",
    "idempotency_key",
    "code",
    "message",
    "bank_code",
    "reason",
    "settlement",
    "reversal",
    "quote",
    "receipt",
    "receipt_problem",
}


async def test_a_pharmacy_settles_in_one_call_and_prints(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    done = await till.settle("ORDER-1")
    assert done.code == 0, done.err
    assert "paid 已支付" in done.out
    for row in (r"Total 合计 +10\.00", r"Current-year account 当年账户支付 +6\.00", r"Bank account 银行卡支付 +4\.00"):
        assert re.search(row, done.out), done.out
    assert "定点零售药店 顾客联" in done.out
    assert "医保结算单" in done.out
    assert till.card.name not in done.out
    assert till.card.card_number not in done.out
    assert await till.service.live_debits(till.card) == [400]
    assert done.err == ""


async def test_json_has_one_shape_and_fen(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    paid = await till.settle("ORDER-1", "--json")
    twice = await till.settle("ORDER-1", "--json")
    assert (paid.code, twice.code) == (0, 12)
    assert set(paid.json) == set(twice.json) == RESULT_KEYS
    assert (paid.json["outcome"], paid.json["exit_code"], paid.json["final"]) == ("settled", 0, True)
    assert paid.json["settlement"]["split"]["bank_fen"] == 400
    assert paid.json["receipt"]["kind"] == "settlement"
    assert "定点零售药店" not in paid.json["receipt"]["text"]
    assert (twice.json["outcome"], twice.json["code"]) == ("refused", "BILL_ALREADY_SETTLED")
    assert twice.json["settlement"] is twice.json["receipt"] is None


async def test_a_hospital_shows_a_quote_and_asks(new_till: NewTill) -> None:
    till = await new_till(profile="hospital", current_year_fen=600, bank_fen=9_000)
    arguments = ("settle", "--visit", till.visit("V-1"), "--line", LINE, "--card", till.card_file)
    no = await till.run(*arguments, typed="n\n")
    assert (no.code, till.attempts()) == (1, [])
    assert "Left, current year 当年账户余额" in no.out
    unseen = await till.run(*arguments, typed=f"y\n{PIN}\n")
    assert (unseen.code, till.attempts()) == (2, [])
    assert "no terminal to type on unseen" in unseen.err
    desk = till.at_keyboard(*arguments)
    await desk.until("是否同意支付")
    desk.type("y\n")
    await desk.until("银行卡密码")
    desk.type(PIN + "\n")
    assert await desk.end() == 0
    assert PIN not in desk.seen
    assert "门诊收费 患者联" in desk.seen
    assert "请凭本单取药或检查" in desk.seen
    assert await till.service.live_debits(till.card) == [400]


async def test_a_quote_changes_nothing(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    arguments = ("quote", "--visit", till.visit("V-1"), "--line", LINE, "--card", till.card_file)
    shown = await till.run(*arguments)
    as_json = await till.run(*arguments, "--json")
    assert shown.code == as_json.code == 0
    assert re.search(r"Bank account 银行卡支付 +4\.00", shown.out)
    assert as_json.json["split"]["bank_fen"] == 400
    assert set(as_json.json) == {
        "token",
        "digest",
        "split",
        "balance_after",
        "bank_notice",
        "insurance_notice",
        "plans",
        "expires_at",
    }
    assert (await till.service.balances(till.card), till.attempts()) == ((600, 0), [])


async def test_the_profile_says_what_becomes_of_a_bank_decline(new_till: NewTill) -> None:
    pharmacy = await new_till(current_year_fen=600, bank_fen=10)
    cash = await pharmacy.settle("ORDER-1")
    assert cash.code == 0, cash.err
    assert re.search(r"COLLECT IN CASH 请收现金 +4\.00", cash.out)
    hospital = await new_till(profile="hospital", current_year_fen=600, bank_fen=10)
    declined = await hospital.settle("V-1", "--json")
    assert (declined.code, declined.json["outcome"]) == (10, "declined")
    assert (declined.json["code"], declined.json["bank_code"]) == ("BANK_INSUFFICIENT_FUNDS", "51")
    assert await hospital.service.balances(hospital.card) == (600, 0)
    kept = await hospital.settle("V-2", "--on-bank-decline", "cash")
    assert (kept.code, await hospital.service.balances(hospital.card)) == (0, (0, 0))


async def test_a_wrong_bank_pin_is_the_banks_to_decline(new_till: NewTill) -> None:
    till = await new_till(profile="hospital", bank_fen=10_000_000)
    done = await till.settle("V-1", line="1:CT:A:2000.00", typed="000000\n")
    assert done.code == 10
    assert "BANK_PIN_WRONG" in done.out
    assert "000000" not in done.out + done.err


async def test_a_pin_of_another_form_sends_nothing(new_till: NewTill) -> None:
    till = await new_till(bank_fen=9_000)
    done = await till.settle("ORDER-1", "--json", typed="12\n")
    assert (done.code, till.attempts()) == (4, [])
    assert done.json["error"]["exit_code"] == 4


async def test_a_legacy_card_is_never_asked_for_a_pin(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank=None)
    done = await till.run("settle", "--visit", till.visit("O-1"), "--line", LINE, "--card", till.card_file, "--yes")
    assert done.code == 0, done.err
    assert "PIN" not in done.out + done.err
    assert re.search(r"COLLECT IN CASH 请收现金 +4\.00", done.out)


async def test_a_ceiling_that_does_not_suffice_is_refused_with_the_new_offer(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    done = await till.settle("ORDER-1", "--ceiling", "3.99")
    assert done.code == 12
    assert "AGREEMENT_EXCEEDED" in done.out
    assert re.search(r"The bank would pay now 银行卡支付 +4\.00", done.out)
    assert (await till.settle("ORDER-1", "--ceiling", "4.00")).code == 0


async def test_the_rest_in_cash_asks_no_bank(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=600, bank_fen=9_000)
    done = await till.settle("ORDER-1", "--remainder", "cash", "--json", typed="")
    assert (done.code, done.json["settlement"]["split"]["cash_fen"]) == (0, 400)
    assert await till.service.live_debits(till.card) == []


async def test_a_frozen_insurance_side_needs_the_patients_word(new_till: NewTill) -> None:
    till = await new_till(current_year_fen=10_000, bank_fen=10_000)
    await till.service.base.cards.freeze(till.card.card_number, "social")
    refused = await till.settle("V1")
    assert refused.code == 12
    assert "pay without insurance" in refused.out
    given = ("--visit", till.visit("V1"), "--line", LINE, "--card", till.card_file)
    offer = await till.run("quote", *given, "--without-insurance", "--json")
    assert offer.json["split"]["bank_fen"] == 1_000
    assert offer.json["insurance_notice"] == "CARD_FROZEN"
    paid = await till.settle("V1", "--without-insurance", "--json")
    assert paid.code == 0
    assert paid.json["settlement"]["split"]["bank_fen"] == 1_000


@pytest.mark.parametrize("profile", ["pharmacy", "hospital"])
async def test_a_key_of_ones_own_is_one_attempt(new_till: NewTill, profile: str) -> None:
    till = await new_till(profile=profile, bank_fen=9_000)
    first = await till.settle("ORDER-1", "--key", "order-1-try-1", "--json")
    again = await till.settle("ORDER-1", "--key", "order-1-try-1", "--json")
    other = await till.settle("ORDER-2", "--key", "order-1-try-1")
    assert (first.code, again.code, other.code) == (0, 0, 31), other.err
    assert first.json["settlement"] == again.json["settlement"]
    assert "was used for another request" in other.err
    assert await till.service.live_debits(till.card) == [1_000]


@pytest.mark.parametrize("form", ["json", "toml", "stdin"])
async def test_a_bill_from_a_file(new_till: NewTill, tmp_path: Path, form: str) -> None:
    till = await new_till(current_year_fen=100_000)
    lines = [
        {"item_code": "86900001", "item_name": "阿莫西林胶囊", "category": "甲", "amount": "24.50", "quantity": "2"},
        {"item_code": "86900002", "item_name": "二甲双胍: 缓释片", "category": "B", "amount_fen": 3_120},
    ]
    text = json.dumps({"visit_no": till.visit("FILED-1"), "lines": lines}, ensure_ascii=False)
    if form == "toml":
        text = f'visit_no = "{till.visit("FILED-1")}"\nservice_date = 2026-01-02\n' + "".join(
            "[[lines]]\n" + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in each.items())
            for each in lines
        )
    path = tmp_path / f"bill.{form}"
    path.write_text(text, encoding="utf-8")
    bill = ("--bill", "-" if form == "stdin" else path)
    done = await till.run("settle", *bill, "--card", till.card_file, "--yes", "--no-pin", "--json", typed=text)
    assert done.code == 0, done.err
    receipt = done.json["receipt"]
    assert [line["amount_fen"] for line in receipt["lines"]] == [2_450, 3_120]
    assert [line["quantity"] for line in receipt["lines"]] == ["2", "1"]
    assert (receipt["visit_no"], receipt["split"]["total_fen"]) == (till.visit("FILED-1"), 5_570)
    if form == "toml":
        assert receipt["service_date"] == "2026-01-02"
