"""Persons whom a plan covers, through the whole service: funds, catalog, counters, refunds, bill after bill."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from typing import Any

from settlement.cards.model import Coverage
from settlement.policy.catalog import Item
from settlement.policy.catalog_store import import_catalog
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import HOSPITAL, RunningService

PENSIONER = Coverage(
    valid_from=dt.date(2018, 1, 1), plan="employees", status="retired", retired_on=dt.date(1999, 6, 30)
)
"""Retired by 2000: deductible 300.00 a year; then at level 3 the additional fund pays 80 %."""


async def _covered(service: RunningService, coverage: Coverage = PENSIONER, **money: int) -> CardImage:
    image = await service.issue_card(**money)
    assert await service.base.cards.cover(image.card_number, coverage)
    return image


async def _counters(service: RunningService, image: CardImage) -> dict[str, int]:
    person = (await service.base.cards.load(image.card_number)).person_id
    rows = await service.base.pool.fetch("select counter, fen from accumulator where person_id = $1", person)
    return {row["counter"]: row["fen"] for row in rows if row["fen"]}


async def _settle(
    till: RawTerminal, image: CardImage, *lines: Any, card: VirtualCard | None = None, **changes: Any
) -> Answer:
    request = till.settlement(image, card or VirtualCard(image), list(lines)) | {"visit_type": "outpatient"}
    return await till.call("POST", "/v1/settlements", request | changes)


def _split(body: dict[str, Any]) -> dict[str, int]:
    payers = ("pooled_fund", "additional_fund", "current_year", "carried_over", "bank", "cash")
    return {payer: body[f"{payer}_fen"] for payer in payers if body[f"{payer}_fen"]}


async def test_the_fund_pays_above_the_deductible_and_the_receipt_explains_it(service: RunningService) -> None:
    image = await _covered(service, current_year_fen=1_000, carried_over_fen=20_000, bank_fen=900_000)
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        settlement = till.settlement(image, VirtualCard(image), [line(41_000, 1), line(500, 2, "C")])
        names = ("visit_no", "service_date", "card", "lines", "total_fen")
        asked = {name: settlement[name] for name in names} | {"visit_type": "outpatient"}
        quote = (await till.call("POST", "/v1/quotes", asked)).body
        paid = await till.call("POST", "/v1/settlements", settlement | {"visit_type": "outpatient"})
        receipt = (await till.call("GET", f"/v1/receipts/{paid.body['receipt_id']}")).body
        assert (await till.call("GET", f"/v1/settlements/{paid.body['settlement_id']}")).body == paid.body
    # 10.00 from the current-year account; 300.00 deductible, 200.00 of it carried over; of 100.00 above it 80 %.
    assert _split(paid.body["split"]) == {
        "additional_fund": 8_000,
        "current_year": 1_000,
        "carried_over": 20_000,
        "bank": 12_500,
    }
    assert quote["split"] == paid.body["split"]
    assert quote["balance_after"] == {"current_year_fen": 0, "carried_over_fen": 0}
    assert paid.body["split"]["own_expense_fen"] == 500
    (used,) = paid.body["plans"]
    assert (used["plan"], used["version"], used["group"]) == ("employees", "2019", "retired_by_2000")
    assert quote["plans"] == receipt["plans"] == [used]
    assert sum(part["amount_fen"] for part in paid.body["split"]["parts"]) == 41_500
    assert "附加基金支付" in receipt["text"]
    assert "医保方案 employees 2019" in receipt["text"]
    assert "自负段: 历年账户" in receipt["text"]
    assert await _counters(service, image) == {"covered/outpatient": 40_000, "additional_fund": 8_000}
    assert await service.live_debits(image) == [12_500]


async def test_a_refund_and_a_reversal_put_everything_back(service: RunningService) -> None:
    image = await _covered(service, carried_over_fen=10_000, bank_fen=900_000)
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        paid = (await _settle(till, image, line(30_000, 1), line(20_000, 2), line(700, 3, "C"))).body
        assert _split(paid["split"]) == {"additional_fund": 16_000, "carried_over": 10_000, "bank": 24_700}
        wanted = {"idempotency_key": f"refund-{secrets.token_hex(6)}", "lines": [{"line_no": 1}, {"line_no": 3}]}
        path = f"/v1/settlements/{paid['settlement_id']}"
        refund = await till.call("POST", f"{path}/refunds", wanted)
        again = await till.call("POST", f"{path}/refunds", wanted)
        await service.until_final()
        told = (await till.call("GET", f"/v1/refunds/{refund.body['refund_id']}")).body
        receipt = (await till.call("GET", f"/v1/receipts/{told['receipt_id']}")).body
        # What is kept, 200.00, lies in the deductible: 100.00 of it from the account.
        assert _split(refund.body["returned"]) == {"additional_fund": 16_000, "bank": 14_700}
        assert refund.body["returned"]["own_expense_fen"] == 700
        assert again.body["refund_id"] == refund.body["refund_id"]
        assert [(each["line_no"], each["amount_fen"]) for each in receipt["lines"]] == [(1, 30_000), (3, 700)]
        assert await _counters(service, image) == {"covered/outpatient": 20_000}
        back = await till.call("POST", f"{path}/reversal", {"idempotency_key": f"undo-{secrets.token_hex(6)}"})
        await service.until_final()
    assert _split(back.body["returned"]) == {"carried_over": 10_000, "bank": 10_000}
    assert await _counters(service, image) == {}
    assert await service.balances(image) == (0, 10_000)


async def test_the_catalog_has_the_word_on_an_items_class(service: RunningService) -> None:
    code = f"XK{secrets.token_hex(4)}"
    facts = {"code": code, "name": "贵药", "valid_from": dt.date(2019, 1, 1), "valid_to": None}
    item = Item(category="B", share=1_000, ceiling_fen=10_000, **facts)  # type: ignore[arg-type]
    now = dt.datetime.now(dt.UTC)
    await import_catalog(service.base.pool, [item], file_name="test.csv", digest=bytes(32), now=now)
    image = await _covered(service, current_year_fen=900_000, bank_fen=900_000)
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        request = till.settlement(image, VirtualCard(image), [line(12_000)]) | {"visit_type": "outpatient"}
        request["lines"] = [request["lines"][0] | {"item_code": code}]
        paid = await till.call("POST", "/v1/settlements", request)
        receipt = (await till.call("GET", f"/v1/receipts/{paid.body['receipt_id']}")).body
    assert [each["category"] for each in receipt["lines"]] == ["B"], "by the catalog, whatever the till said"
    # Above the price ceiling 20.00 and of the rest the self-paid 10.00: the patient's own, whatever is on the account.
    assert _split(paid.body["split"]) == {"current_year": 9_000, "bank": 3_000}
    rules = {part["rule"]: part["amount_fen"] for part in paid.body["split"]["parts"]}
    assert rules == {"above_price_ceiling": 2_000, "self_paid_share": 1_000, "account_first": 9_000}


async def test_while_one_bill_counts_the_next_waits_and_an_account_only_one_does_not(service: RunningService) -> None:
    image = await _covered(service, current_year_fen=500, bank_fen=900_000)
    card, match = VirtualCard(image), Match(mti="0200", pan=image.pan)
    await service.bank.add_fault(FaultSpec(action="drop_after_commit", bank="ICBC", match=match))
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        first = asyncio.create_task(_settle(till, image, line(1_500), card=card))
        person = (await service.base.cards.load(image.card_number)).person_id
        open_bill = "select counting_settlement from insurance_accounts where person_id = $1"
        while await service.base.pool.fetchval(open_bill, person) is None:
            await asyncio.sleep(0.02)
        busy = await _settle(till, image, line(2_000), card=card)
        assert (busy.status, busy.code) == (409, "PERSON_BUSY")
        assert busy.body["error"]["retry_after_ms"] > 0
        beside = await _settle(till, image, line(300), card=card, visit_type="pharmacy")
        assert (beside.status, beside.body["state"]) == (200, "settled")
        await first
        await service.until_final()
        assert (await _settle(till, image, line(2_000), card=card)).status == 200


async def test_a_hundred_bills_of_one_person_at_once_are_as_if_one_came_after_the_other(
    service: RunningService,
) -> None:
    image = await _covered(service, bank_fen=900_000)
    card = VirtualCard(image)
    amounts = [600 + 7 * number for number in range(100)]

    busy = 0

    async def patiently(till: RawTerminal, request: dict[str, Any]) -> Answer:
        """As a till does: told to come back, it asks for the card again, which signs with its next counter."""
        nonlocal busy
        names = {"key": request["idempotency_key"], "visit_no": request["visit_no"]}
        while True:
            answer = await till.call("POST", "/v1/settlements", request | {"visit_type": "outpatient"})
            if answer.status == 200:
                return answer
            busy += answer.code == "PERSON_BUSY"
            assert answer.code in {"PERSON_BUSY", "CARD_COUNTER_REPLAYED", "TERMINAL_FLOODING", "OVERLOADED"}
            await asyncio.sleep(0.05 + secrets.randbelow(500) / 1_000)
            request = till.settlement(image, card, [line(request["total_fen"])], **names)

    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        requests = [till.settlement(image, card, [line(fen)]) for fen in amounts]
        answers = await asyncio.gather(*(patiently(till, request) for request in requests))
    assert busy > 0
    assert {(answer.status, answer.body["state"]) for answer in answers} == {(200, "settled")}
    total = sum(amounts)
    fund = sum(answer.body["split"]["additional_fund_fen"] for answer in answers)
    assert await _counters(service, image) == {"covered/outpatient": total, "additional_fund": fund}
    # In the order in which they were held, each pays what it would alone after those before it.
    ids = {answer.body["settlement_id"]: answer.body for answer in answers}
    held = (
        "select settlement_id::text as id from settlement where settlement_id::text = any ($1) order by account_version"
    )
    order = await service.base.pool.fetch(held, list(ids))
    covered = paid = 0
    for row in order:
        body = ids[row["id"]]
        begun, covered = covered, covered + body["split"]["total_fen"]
        above = max(0, covered - 30_000) - max(0, begun - 30_000)
        assert body["split"]["additional_fund_fen"] == (above * 8_000 + 5_000) // 10_000
        paid += body["split"]["additional_fund_fen"]
    assert (covered, paid) == (total, fund)


async def test_a_visit_that_no_plan_judges_is_refused_and_changes_nothing(service: RunningService) -> None:
    child = Coverage(valid_from=dt.date(2018, 1, 1), plan="employees", status="minor")
    image = await _covered(service, child, current_year_fen=5_000, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        refused = await _settle(till, image, line(1_000))
        assert (refused.status, refused.code) == (409, "PLAN_MISSING")
        assert "minor" not in refused.raw.decode()
        await service.base.cards.cover(image.card_number, Coverage(valid_from=child.valid_from, plan=None, status=None))
        paid = await _settle(till, image, line(1_000))
    assert _split(paid.body["split"]) == {"current_year": 1_000}
    assert paid.body["plans"] == []
    assert await service.live_debits(image) == []
