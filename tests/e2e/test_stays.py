"""Inpatient stays through the whole service: admission, fees over days, trial, interim, final, and each taken back."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from tests.support.raw_terminal import raw_terminal
from tests.support.service import HOSPITAL, RunningService, running_service
from tests.support.ward import RESIDENT, TODAY, fee, insurance_year, key, payers_of, ward_of


async def test_from_admission_over_fees_and_trial_to_discharge(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, current_year_fen=70_000, carried_over_fen=50_000, bank_fen=900_000)
        admitted = await ward.admit()
        assert (admitted.status, admitted.body["state"], admitted.body["open_fen"]) == (200, "admitted", 0)
        await ward.upload(fee(1, 100_000), fee(2, 20_000))
        await ward.upload(fee(3, 50_000), fee(4, 3_000, category="C"))
        quote = (await ward.trial()).body
        # 1200.00 deductible, 500.00 of it carried over; of 500.00 the pooled fund pays 92 %; class C is the patient's.
        shares = {"pooled_fund": 46_000, "carried_over": 50_000, "bank": 77_000}
        assert payers_of(quote["split"]) == shares
        assert quote["plans"][0]["rule"] == "inpatient/retired"
        assert (await ward.view())["state"] == "admitted", "a trial changes nothing"
        final = await ward.settle("final", 173_000)
        assert (final.status, final.body["state"], payers_of(final.body["split"])) == (200, "settled", shares)
        stay = await ward.view()
        receipt = (await till.call("GET", f"/v1/receipts/{final.body['receipt_id']}")).body
    assert (stay["state"], stay["open_lines"], stay["open_fen"]) == ("discharged", 0, 0)
    assert [(batch["batch_no"], batch["lines"], batch["total_fen"]) for batch in stay["batches"]] == [
        (1, 2, 120_000),
        (2, 2, 53_000),
    ]
    assert "统筹基金支付" in receipt["text"]
    assert [each["line_no"] for each in receipt["lines"]] == [1, 2, 3, 4]
    year = insurance_year(TODAY)
    assert await ward.counters() == {(year, "covered/inpatient"): 170_000, (year, "pooled_fund"): 46_000}
    assert await service.live_debits(ward.image) == [77_000]


async def test_interim_then_final_and_each_taken_back(service: RunningService) -> None:
    early, late = TODAY - dt.timedelta(days=2), TODAY
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=9_000_000)
        await ward.admit()
        await ward.upload(fee(1, 150_000, early), fee(2, 10_000, late))
        assert payers_of((await ward.trial(through=early.isoformat())).body["split"]) == {
            "pooled_fund": 27_600,
            "bank": 122_400,
        }
        interim = await ward.settle("interim", 150_000, through=early.isoformat())
        assert (interim.body["state"], (await ward.view())["state"]) == ("settled", "admitted")
        assert (await ward.upload(fee(3, 5_000))).status == 200
        final = await ward.settle("final", 15_000)
        assert payers_of(final.body["split"]) == {"pooled_fund": 13_800, "bank": 1_200}, "the deductible was met before"
        assert (await ward.upload(fee(4, 1))).code == "STAY_DISCHARGED"
        # Back to the ward: the final settlement is taken back, then the interim one.
        await ward.reverse(final)
        stay = await ward.view()
        assert (stay["state"], stay["open_lines"], stay["open_fen"]) == ("admitted", 2, 15_000)
        assert [each["part"] for each in stay["settlements"]] == ["interim"]
        await ward.reverse(interim)
        assert (await ward.view())["open_fen"] == 165_000
        assert await ward.counters() == {}
        once_more = await ward.settle("final", 165_000)
        assert payers_of(once_more.body["split"]) == {"pooled_fund": 41_400, "bank": 123_600}
    live = [fen for fen in await service.live_debits(ward.image) if fen]
    assert live == [123_600]


async def test_fees_and_admission_are_taken_back(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=900_000)
        await ward.admit()
        await ward.upload(fee(1, 1_000))
        await ward.upload(fee(2, 2_000), fee(3, 3_000))
        assert (await ward.upload(fee(3, 1))).code == "STAY_LINE_USED"
        undo = {"idempotency_key": key()}
        stay = (await ward.post("/fees/2/withdrawal", undo)).body
        assert (stay["open_fen"], [batch["withdrawn"] for batch in stay["batches"]]) == (1_000, [False, True])
        assert (await ward.post("/fees/2/withdrawal", undo)).body == stay, "the same key: the same answer"
        assert (await ward.upload(fee(3, 70))).status == 200, "its numbers are free again"
        assert (await ward.post("/cancellation", {"idempotency_key": key()})).code == "STAY_NOT_EMPTY"
        for batch in (1, 3):
            await ward.post(f"/fees/{batch}/withdrawal", {"idempotency_key": key()})
        cancelled = await ward.post("/cancellation", {"idempotency_key": key()})
        assert cancelled.body["state"] == "cancelled"
        assert (await ward.upload(fee(9, 1))).code == "STAY_CANCELLED"
        assert (await ward.trial()).code == "STAY_CANCELLED"
        old = ward.stay_id
        assert (await ward.admit()).status == 200
        assert ward.stay_id != old


async def test_the_same_key_gives_the_first_answer(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=900_000)
        names = {"idempotency_key": key()}
        first = await ward.admit(**names)
        assert (await ward.admit(**names)).body == first.body
        assert (await ward.admit(**names, visit_type="home_sickbed")).code == "IDEMPOTENCY_KEY_REUSED"
        other = await ward_of(service, till)
        other.stay_no = ward.stay_no
        assert (await other.admit()).code == "STAY_NUMBER_USED"
        batch = {"idempotency_key": key()}
        uploads = await asyncio.gather(*(ward.upload(fee(1, 1_000), **batch) for _ in range(8)))
        assert {answer.status for answer in uploads} == {200}
        assert [len(answer.body["batches"]) for answer in uploads] == [1] * 8
        assert (await ward.upload(fee(1, 1_001), **batch)).code == "IDEMPOTENCY_KEY_REUSED"
        request = ward.settlement("final", 1_000)
        answers = await asyncio.gather(*(ward.post("/settlements", request) for _ in range(8)))
        assert len({answer.raw for answer in answers}) == 1
        assert answers[0].body["state"] == "settled"
    assert await service.live_debits(ward.image) == [1_000]


async def test_two_final_settlements_at_once_settle_once(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=900_000)
        await ward.admit()
        await ward.upload(fee(1, 1_000))
        requests = [ward.settlement("final", 1_000) for _ in range(6)]
        answers = await asyncio.gather(*(ward.post("/settlements", request) for request in requests))
    assert [answer.status for answer in answers].count(200) == 1
    refused = {answer.code for answer in answers if answer.status != 200}
    assert refused <= {
        "BILL_ALREADY_SETTLED",
        "STAY_DISCHARGED",
        "STAY_CHANGED",
        "CARD_COUNTER_REPLAYED",
        "PERSON_BUSY",
        "STAY_EMPTY",
    }
    assert await service.live_debits(ward.image) == [1_000]


async def test_a_declined_final_settlement_leaves_the_stay_open(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=10)
        await ward.admit()
        await ward.upload(fee(1, 130_000))
        declined = await ward.settle("final", 130_000)
        stay = await ward.view()
        assert (declined.body["state"], stay["state"], stay["open_fen"]) == ("declined", "admitted", 130_000)
        assert await ward.counters() == {}
        cash = await ward.settle("final", 130_000, remainder="cash")
        assert (cash.body["state"], payers_of(cash.body["split"])) == (
            "settled",
            {"pooled_fund": 9_200, "cash": 120_800},
        )


async def test_while_the_final_settlement_is_open_the_stay_is_discharging(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=900_000)
        await ward.admit()
        await ward.upload(fee(1, 1_000))
        match = Match(mti="0200", pan=ward.image.pan)
        await service.bank.add_fault(FaultSpec(action="drop_after_commit", bank="ICBC", match=match))
        final = await ward.settle("final", 1_000, wait_ms=0)
        assert (final.status, (await ward.view())["state"]) == (202, "discharging")
        assert (await ward.upload(fee(2, 1))).code == "STAY_DISCHARGED"
        await service.until_final()
        assert (await ward.view())["state"] == "discharged"


async def test_a_stay_over_the_end_of_the_insurance_year_is_judged_by_both_years(service: RunningService) -> None:
    turn = dt.date(TODAY.year if (TODAY.month, TODAY.day) >= (7, 1) else TODAY.year - 1, 7, 1)
    before, after = turn - dt.timedelta(days=1), turn
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=9_000_000)
        await ward.admit(admitted_on=before.isoformat())
        await ward.upload(fee(1, 130_000, before), fee(2, 140_000, after))
        final = await ward.settle("final", 270_000)
        # Each year has its deductible of 1200.00; above it 92 %.
        assert payers_of(final.body["split"]) == {"pooled_fund": 9_200 + 18_400, "bank": 242_400}
        assert [used["insurance_year"] for used in final.body["plans"]] == [turn.year - 1, turn.year]
        assert await ward.counters() == {
            (turn.year - 1, "covered/inpatient"): 130_000,
            (turn.year - 1, "pooled_fund"): 9_200,
            (turn.year, "covered/inpatient"): 140_000,
            (turn.year, "pooled_fund"): 18_400,
        }
        refund = {"idempotency_key": key(), "lines": [{"line_no": 1, "amount_fen": 65_000}]}
        path = f"/v1/settlements/{final.body['settlement_id']}"
        given = await till.call("POST", f"{path}/refunds", refund)
        assert payers_of(given.body["returned"]) == {"pooled_fund": 9_200, "bank": 55_800}
        await service.until_final()
        await ward.reverse(final)
    assert await ward.counters() == {}


async def test_a_residents_stay_over_the_end_of_the_year_has_one_deductible(service: RunningService) -> None:
    turn = dt.date(insurance_year(TODAY), 7, 1)
    before = turn - dt.timedelta(days=1)
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, RESIDENT, bank_fen=9_000_000)
        await ward.admit(admitted_on=before.isoformat())
        await ward.upload(fee(1, 20_000, before), fee(2, 20_000, turn))
        final = await ward.settle("final", 40_000)
        fund = final.body["split"]["pooled_fund_fen"]
        assert fund in {6_000, 7_000}
        counters = await ward.counters()
        assert counters == {
            (turn.year - 1, f"covered/inpatient/{ward.stay_id}"): 40_000,
            (turn.year, "pooled_fund"): fund,
        }
        await ward.reverse(final)
    assert await ward.counters() == {}


async def test_a_residents_deductible_is_of_each_stay(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, RESIDENT, bank_fen=9_000_000)
        splits = []
        for _ in range(2):
            ward.stay_no = f"ZY{secrets.token_hex(5)}"
            await ward.admit()
            await ward.upload(fee(1, 40_000))
            interim = await ward.settle("interim", 40_000)
            await ward.upload(fee(2, 10_000))
            final = await ward.settle("final", 10_000)
            splits.append([payers_of(each.body["split"]) for each in (interim, final)])
    # Level 3: 300.00 of each stay, then 60 % (70 % from 60 on): 100.00 of the first bill, all of the second.
    assert splits[0] == splits[1]
    fund = splits[0][0]["pooled_fund"]
    assert (fund, splits[0][1]["pooled_fund"]) in {(6_000, 6_000), (7_000, 7_000)}
    counters = await ward.counters()
    assert len([name for _, name in counters if name.startswith("covered/inpatient/")]) == 2


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/settlements", {"total_fen": 999}, "STAY_TOTAL_DIFFERS"),
        ("/settlements", {"through": "2019-01-01"}, "BAD_FIELD"),
        ("/settlements", {"part": "middle"}, "BAD_FIELD"),
        ("/fees/1x/withdrawal", {"idempotency_key": "key-12345678"}, "STAY_BATCH_UNKNOWN"),
        ("/fees/7/withdrawal", {"idempotency_key": "key-12345678"}, "STAY_BATCH_UNKNOWN"),
    ],
)
async def test_bad_requests_change_nothing(service: RunningService, path: str, body: dict[str, Any], code: str) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=900_000)
        await ward.admit()
        await ward.upload(fee(1, 1_000))
        before = await ward.view()
        request = ward.settlement("final", 1_000) | body if path == "/settlements" else body
        assert (await ward.post(path, request)).code == code
        assert await ward.view() == before


async def test_fees_outside_the_stay_or_twice_are_refused(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till)
        assert (await ward.admit(admitted_on=(TODAY + dt.timedelta(days=1)).isoformat())).code == (
            "SERVICE_DATE_OUT_OF_RANGE"
        )
        await ward.admit(admitted_on=TODAY.isoformat())
        yesterday = TODAY - dt.timedelta(days=1)
        assert (await ward.upload(fee(1, 5, yesterday))).code == "SERVICE_DATE_OUT_OF_RANGE"
        assert (await ward.upload(fee(1, 5), fee(1, 6))).code == "DUPLICATE_LINE_NO"
        assert (await ward.upload(fee(1, 5), total_fen=6)).code == "LINES_DO_NOT_ADD_UP"
        assert (await ward.trial()).code == "STAY_EMPTY"
        assert (await ward.view())["batches"] == []
        stranger = await ward_of(service, till)
        await ward.upload(fee(1, 5))
        assert (await ward.trial(card=stranger.reference)).code == "STAY_CARD_OTHER"
        other_house = await service.enrolled()
        async with raw_terminal(service.base_url, other_house) as elsewhere:
            assert (await elsewhere.call("GET", f"/v1/stays/{ward.stay_id}")).code == "STAY_UNKNOWN"


async def test_twenty_thousand_lines_settle_at_once(
    make_database: Callable[[], Awaitable[str]], tmp_path: Path
) -> None:
    """With the service's own lease: to hold so many lines takes longer than half of the tests' short one."""
    async with running_service(await make_database(), tmp_path, SETTLEMENT_CLAIM_LEASE_MS="20000") as service:
        await _twenty_thousand_lines(service)


async def _twenty_thousand_lines(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=900_000_000)
        await ward.admit()
        for start in range(1, 20_001, 2_500):
            numbers = range(start, start + 2_500)
            lines = [fee(number, 100 + number % 7, TODAY - dt.timedelta(days=number % 40)) for number in numbers]
            last, names = lines, {"idempotency_key": key()}
            assert (await ward.upload(*lines, **names)).status == 200
        assert (await ward.upload(fee(20_001, 1))).code == "STAY_TOO_LARGE"
        assert (await ward.upload(*last, **names)).status == 200, "a known key is never too large"
        total = (await ward.view())["open_fen"]
        final = await ward.settle("final", total, wait_ms=30_000)
        assert (final.status, final.body["state"]) == (200, "settled"), final.body["decline"]
        assert sum(payers_of(final.body["split"]).values()) == total
        assert len({part["line_no"] for part in final.body["split"]["parts"]}) == 20_000
        await ward.reverse(final)
    assert await ward.counters() == {}
