"""Refunds over HTTP, to the banks' own books: line by line, once, whatever is lost on the way, beside a reversal."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.wire import FeeLine
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import HOSPITAL, RunningService


async def _settled(till: RawTerminal, image: CardImage, *lines: FeeLine) -> str:
    answer = await till.call("POST", "/v1/settlements", till.settlement(image, VirtualCard(image), list(lines)))
    assert answer.body["state"] == "settled", answer.body
    settlement_id: str = answer.body["settlement_id"]
    return settlement_id


def _lines(*parts: tuple[int, int | None]) -> dict[str, Any]:
    wanted = [{"line_no": number} | ({} if fen is None else {"amount_fen": fen}) for number, fen in parts]
    return {"idempotency_key": f"refund-{secrets.token_hex(6)}", "lines": wanted}


async def _refund(till: RawTerminal, settlement_id: str, body: dict[str, Any]) -> Answer:
    return await till.call("POST", f"/v1/settlements/{settlement_id}/refunds", body)


async def _final(till: RawTerminal, answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = answer.body
    async with asyncio.timeout(40):
        while not body["final"]:
            await asyncio.sleep(0.1)
            body = (await till.call("GET", f"/v1/refunds/{body['refund_id']}")).body
    return body


async def _moved(service: RunningService, image: CardImage) -> list[tuple[str, int, str]]:
    items = await service.bank_books(image)
    return [(item.kind, item.moved_fen, item.state) for item in items if item.moved_fen]


async def test_lines_go_back_to_who_paid_them_and_the_receipt_says_so(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=700, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        bill = await _settled(till, image, line(500, 1), line(600, 2), line(40, 3, "C"))
        part = await _final(till, await _refund(till, bill, _lines((2, 450), (3, None))))
        whole = await _final(till, await _refund(till, bill, _lines((1, None), (2, None))))
        status = (await till.call("GET", f"/v1/settlements/{bill}")).body
        receipt = (await till.call("GET", f"/v1/receipts/{part['receipt_id']}")).body
        reversal = await till.call("POST", f"/v1/settlements/{bill}/reversal", {"idempotency_key": f"undo-{bill}"})
    returned = part["returned"]
    assert (returned["bank_fen"], returned["current_year_fen"], returned["own_expense_fen"]) == (440, 50, 40)
    assert (whole["returned"]["bank_fen"], whole["returned"]["current_year_fen"]) == (0, 650)
    assert status["refund_ids"] == [part["refund_id"], whole["refund_id"]]
    assert (status["state"], status["returned_fen"]) == ("settled", 1_140)
    assert (receipt["kind"], [(each["line_no"], each["amount_fen"]) for each in receipt["lines"]]) == (
        "refund",
        [(2, 450), (3, 40)],
    )
    assert "医保结算退费单" in receipt["text"]
    assert "-4.90" in receipt["text"]
    assert (reversal.status, reversal.body["returned"]["total_fen"]) == (200, 0)
    assert await service.balances(image) == (700, 0)
    # The whole of the debit, on its day: a void.
    assert await _moved(service, image) == [("debit", 440, "voided"), ("void", 440, "done")]


async def test_a_refund_whose_answer_is_lost_moves_once(service: RunningService) -> None:
    image = await service.issue_card(bank_fen=9_000, bank="SRCB")
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        bill = await _settled(till, image, line(1_000))
        assert image.bank_code is not None
        lost = FaultSpec(
            action="drop_after_commit", bank=image.bank_code, match=Match(mti="0220", pan=image.pan), count=2
        )
        await service.bank.add_fault(lost)
        body = _lines((1, 300))
        first = await _refund(till, bill, body)
        assert (first.status, first.body["state"]) == (202, "refunding")
        assert first.headers["Location"] == f"/v1/refunds/{first.body['refund_id']}"
        assert (await _final(till, first))["state"] == "refunded"
        again = await _refund(till, bill, body)
    assert (again.status, again.body["refund_id"]) == (200, first.body["refund_id"])
    assert await _moved(service, image) == [("debit", 1_000, "partly_refunded"), ("refund", 300, "done")]


async def test_one_key_many_times_at_once_is_one_refund(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=5_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        bill = await _settled(till, image, line(1_000))
        body = _lines((1, 300))
        answers = await asyncio.gather(*(_refund(till, bill, body) for _ in range(20)))
        other = await _refund(till, bill, body | {"reason": "another"})
    assert {answer.raw for answer in answers} == {answers[0].raw}
    assert (other.status, other.code) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert await service.balances(image) == (4_300, 0)


async def test_refunds_and_a_reversal_at_once_never_give_back_more_than_the_bill(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=100, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        bill = await _settled(till, image, line(1_000))
        undo = {"idempotency_key": f"undo-{bill}"}
        asked = [_refund(till, bill, _lines((1, 90))) for _ in range(8)]
        answers = await asyncio.gather(
            *asked[:4], till.call("POST", f"/v1/settlements/{bill}/reversal", undo), *asked[4:]
        )
        await service.until_final()
        status = (await till.call("GET", f"/v1/settlements/{bill}")).body
    for answer in answers:
        assert answer.status in {200, 202} or answer.code == "NOTHING_TO_REFUND", answer.body
    assert (status["state"], status["returned_fen"]) == ("reversed", 1_000)
    assert await service.balances(image) == (100, 0)
    assert image.bank_code is not None
    assert image.pan is not None
    assert (await service.bank.account(image.bank_code, image.pan)).balance_fen == 9_000


async def test_a_refund_goes_on_after_its_process_was_killed(own_service: RunningService) -> None:
    service = own_service
    image = await service.issue_card(bank_fen=9_000)
    assert image.bank_code is not None
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        bill = await _settled(till, image, line(1_000))
        slow = FaultSpec(
            action="delay_ms", bank=image.bank_code, match=Match(mti="0220", pan=image.pan), delay_ms=5_000
        )
        await service.bank.add_fault(slow)
        asked = asyncio.create_task(_refund(till, bill, _lines((1, 400))))
        async with asyncio.timeout(20):
            while not await service.base.pool.fetchval("select count(*) from undo"):
                await asyncio.sleep(0.02)
        await service.process.kill()
        asked.cancel()
        await service.process.start()
        await service.until_final()
    assert await _moved(service, image) == [("debit", 1_000, "partly_refunded"), ("refund", 400, "done")]


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"lines": []}, 422, "BAD_FIELD", "lines"),
        ({"lines": [{"line_no": 1, "amount_fen": 0}]}, 422, "BAD_FIELD", "lines[0].amount_fen"),
        ({"lines": [{"line_no": 1, "amount_fen": -5}]}, 422, "BAD_FIELD", "lines[0].amount_fen"),
        ({"lines": [{"line_no": 1, "amount_fen": 1.5}]}, 422, "BAD_FIELD", "lines[0].amount_fen"),
        ({"lines": [{"line_no": 1, "amount": 5}]}, 422, "BAD_FIELD", "lines[0].amount"),
        ({"lines": [{"line_no": 1}, {"line_no": 1}]}, 422, "DUPLICATE_LINE_NO", "lines"),
        ({"lines": [{"line_no": 1}, {"line_no": 9}]}, 422, "REFUND_LINE_UNKNOWN", "lines[1].line_no"),
        ({"lines": [{"line_no": 2, "amount_fen": 301}]}, 409, "REFUND_EXCEEDS_LINE", "lines[0].amount_fen"),
        ({"idempotency_key": "short"}, 422, "BAD_FIELD", "idempotency_key"),
    ],
)
async def test_a_bad_refund_is_refused_and_changes_nothing(
    service: RunningService, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    image = await service.issue_card(current_year_fen=5_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        bill = await _settled(till, image, line(200, 1), line(300, 2))
        answer = await _refund(till, bill, _lines((1, None)) | change)
        assert (answer.status, answer.code) == (status, code)
        assert answer.body["error"].get("field") == field
        assert (await till.call("GET", f"/v1/settlements/{bill}")).body["returned_fen"] == 0
    assert await service.balances(image) == (4_500, 0)


async def test_only_the_own_institutions_settled_bills_are_refunded(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=5_000)
    async with (
        raw_terminal(service.base_url, await service.enrolled()) as till,
        raw_terminal(service.base_url, await service.enrolled(HOSPITAL)) as elsewhere,
    ):
        bill = await _settled(till, image, line(200))
        foreign = await _refund(elsewhere, bill, _lines((1, None)))
        refund = await _refund(till, bill, _lines((1, 50)))
        peeped = await elsewhere.call("GET", f"/v1/refunds/{refund.body['refund_id']}")
        as_reversal = await till.call("GET", f"/v1/reversals/{refund.body['refund_id']}")
        await till.call("POST", f"/v1/settlements/{bill}/reversal", {"idempotency_key": f"undo-{bill}"})
        late = await _refund(till, bill, _lines((1, None)))
    assert (foreign.status, foreign.code) == (404, "SETTLEMENT_UNKNOWN")
    assert (peeped.status, peeped.code) == (404, "REFUND_UNKNOWN")
    assert as_reversal.status == 404
    assert (late.status, late.code) == (409, "NOTHING_TO_REFUND")
