"""Deposits of stays: taken from the bank account, used before it is asked again, given back by their own saga."""

from __future__ import annotations

from tests.support.raw_terminal import raw_terminal
from tests.support.service import HOSPITAL, RunningService
from tests.support.ward import Ward, fee, key, payers_of, ward_of


async def test_a_deposit_is_taken_at_admission_and_offset_at_the_end(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=9_000_000)
        await ward.admit()
        deposit = await ward.deposit(100_000)
        assert (deposit.body["state"], payers_of(deposit.body["split"])) == ("settled", {"bank": 100_000})
        more = await ward.deposit(50_000)
        assert ((await ward.view())["state"], (await ward.view())["deposit_left_fen"]) == ("admitted", 150_000)
        await ward.upload(fee(1, 30_000))
        interim = await ward.settle("interim", 30_000)
        assert payers_of(interim.body["split"]) == {"deposit": 30_000}
        await ward.upload(fee(2, 100_000))
        trial = (await ward.trial()).body
        final = await ward.settle("final", 100_000)
        # 900.00 are left of the deductible, of the rest the patient pays 8 %.
        assert payers_of(final.body["split"]) == payers_of(trial["split"]) == {"pooled_fund": 9_200, "deposit": 90_800}
        receipt = (await till.call("GET", f"/v1/receipts/{final.body['receipt_id']}")).body
        assert "预交金抵扣" in receipt["text"]
        stay = await ward.view()
        assert (stay["state"], stay["deposit_left_fen"]) == ("discharged", 29_200)
        # What is left goes back; more does not, while the bills stand.
        assert (await ward.refund(more, (99_002, 29_201))).code == "DEPOSIT_IN_USE"
        assert (await ward.reverse(more)).code == "DEPOSIT_IN_USE"
        assert (await ward.refund(more, (99_002, 29_200))).body["returned"]["bank_fen"] == 29_200
        assert (await ward.view())["deposit_left_fen"] == 0
    assert sorted(item.amount_fen for item in await service.bank_books(ward.image) if item.kind == "debit") == [
        50_000,
        100_000,
    ]


async def test_bills_that_used_a_deposit_are_taken_back_into_it(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        ward = await ward_of(service, till, bank_fen=9_000_000)
        await ward.admit()
        deposit = await ward.deposit(50_000)
        await ward.upload(fee(1, 40_000), fee(2, 30_000, category="C"))
        final = await ward.settle("final", 70_000)
        assert payers_of(final.body["split"]) == {"deposit": 50_000, "bank": 20_000}
        given = await ward.refund(final, (2, None))
        assert payers_of(given.body["returned"]) == {"deposit": 10_000, "bank": 20_000}, (
            "the bank's share goes back first"
        )
        assert (await ward.view())["deposit_left_fen"] == 10_000
        await ward.reverse(final)
        assert ((await ward.view())["state"], (await ward.view())["deposit_left_fen"]) == ("admitted", 50_000)
        assert (await ward.reverse(deposit)).body["state"] in {"reversing", "reversed"}
        assert (await ward.view())["deposit_left_fen"] == 0
        await ward.post("/fees/1/withdrawal", {"idempotency_key": key()})
        assert (await ward.post("/cancellation", {"idempotency_key": key()})).body["state"] == "cancelled"
    assert await service.live_debits(ward.image) == []


async def test_a_deposit_needs_a_bank_account_and_an_open_stay(service: RunningService) -> None:
    async with raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as till:
        image = await service.issue_card(bank_fen=1_000, activate="social")
        ward = Ward(service, till, image)
        await ward.admit()
        assert (await ward.deposit(100)).code == "FINANCIAL_NOT_ACTIVE"
        other = await ward_of(service, till, bank_fen=1_000)
        await other.admit()
        assert (await other.deposit(1_001)).body["state"] == "declined"
        names = {"idempotency_key": key()}
        first = await other.deposit(500, **names)
        assert (await other.deposit(500, **names)).body == first.body
        assert (await other.view())["deposit_left_fen"] == 500
        await other.upload(fee(1, 500))
        assert payers_of((await other.settle("final", 500)).body["split"]) == {"deposit": 500}
        assert (await other.deposit(10)).code == "STAY_DISCHARGED"
