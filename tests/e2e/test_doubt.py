"""Answers lost, banks that are slow, processes that die: settled once or taken back, never both, never twice."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import RunningService


async def _follow(till: RawTerminal, answer: Answer, *wanted: str, timeout_s: float = 40.0) -> str:
    """Ask for the status until it is one of these."""
    state: str = answer.body["state"]
    async with asyncio.timeout(timeout_s):
        while state not in wanted:
            await asyncio.sleep(0.1)
            status = await till.call("GET", f"/v1/settlements/{answer.body['settlement_id']}")
            state = status.body["state"]
    return state


def _fault(image: CardImage, action: str, mti: str = "0200", **more: object) -> FaultSpec:
    return FaultSpec(action=action, bank=image.bank_code, match=Match(mti=mti, pan=image.pan), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("bank", ["ICBC", "ABC"])
async def test_answer_dropped_after_the_debit_is_settled_by_inquiry(service: RunningService, bank: str) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank=bank)
    await service.bank.add_fault(_fault(image, "drop_after_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        answer = await till.call("POST", "/v1/settlements", request)
        assert (answer.status, answer.body["state"]) == (202, "pending")
        assert answer.headers["Location"].endswith(answer.body["settlement_id"])
        assert await _follow(till, answer, "settled", "reversed") == "settled"
        again = await till.call("POST", "/v1/settlements", request)
    assert (again.status, again.body["settlement_id"]) == (200, answer.body["settlement_id"])
    assert await service.live_debits(image) == [700]


async def test_debit_dropped_before_commit_is_released_at_the_deadline(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    await service.bank.add_fault(_fault(image, "drop_before_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=3_000)
        answer = await till.call("POST", "/v1/settlements", request)
        assert answer.status == 202
        assert await _follow(till, answer, "settled", "reversed") == "reversed"
    assert await service.live_debits(image) == []
    assert await service.balances(image) == (300, 0)


async def test_a_bank_without_inquiry_is_reversed_at_the_deadline(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank="SRCB")
    await service.bank.add_fault(_fault(image, "drop_after_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=3_000)
        answer = await till.call("POST", "/v1/settlements", request)
        assert answer.status == 202
        assert await _follow(till, answer, "settled", "reversed") == "reversed"
    assert await service.live_debits(image) == []
    assert [item.state for item in await service.bank_books(image) if item.kind == "debit"] == ["reversed"]


async def test_a_lost_answer_to_the_reversal_is_asked_for_again(service: RunningService) -> None:
    image = await service.issue_card(bank_fen=9_000, bank="SRCB")
    await service.bank.add_fault(_fault(image, "drop_after_commit"))
    await service.bank.add_fault(_fault(image, "drop_after_commit", mti="0400", count=2))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=1_000)
        answer = await till.call("POST", "/v1/settlements", request)
        assert await _follow(till, answer, "settled", "reversed") == "reversed"
    assert await service.live_debits(image) == []


async def test_a_late_approval_after_the_deadline_is_reversed_not_captured(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank="SRCB")
    await service.bank.add_fault(_fault(image, "delay_ms", delay_ms=4_000, when="before_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=1_000)
        answer = await till.call("POST", "/v1/settlements", request)
        assert await _follow(till, answer, "settled", "reversed") == "reversed"
    await asyncio.sleep(4)  # until the delayed debit has met the bank's memory of its reversal
    assert await service.live_debits(image) == []
    assert await service.balances(image) == (300, 0)


async def test_a_late_approval_before_the_deadline_is_captured_without_inquiry(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank="SRCB")
    await service.bank.add_fault(_fault(image, "delay_ms", delay_ms=3_000, when="after_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=60_000)
        answer = await till.call("POST", "/v1/settlements", request)
        assert answer.status == 202
        assert await _follow(till, answer, "settled", "reversed") == "settled"
    assert await service.live_debits(image) == [700]


async def test_the_till_reverses_what_is_in_doubt(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000, bank="SRCB")
    await service.bank.add_fault(_fault(image, "drop_after_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        answer = await till.call("POST", "/v1/settlements", till.settlement(image, VirtualCard(image), [line(1_000)]))
        assert answer.status == 202
        path = f"/v1/settlements/{answer.body['settlement_id']}/reversal"
        taken = await till.call("POST", path, {"idempotency_key": f"undo-{till.terminal_id}"})
        assert taken.status in {200, 202}
        assert await service.balances(image) == (300, 0)
        assert await _follow(till, answer, "settled", "reversed") == "reversed"
    assert await service.live_debits(image) == []


async def test_an_unreachable_bank_declines_at_once_and_cash_takes_over(own_service: RunningService) -> None:
    service = own_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    card = VirtualCard(image)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        await service.host.kill()
        await _until_down(till)
        released = await till.call("POST", "/v1/settlements", till.settlement(image, card, [line(1_000)]))
        assert released.body["decline"]["code"] == "BANK_UNAVAILABLE"
        assert await service.balances(image) == (300, 0)
        keeping = till.settlement(image, card, [line(1_000)], on_bank_decline="cash")
        kept = await till.call("POST", "/v1/settlements", keeping)
        await service.host.start()
    assert (released.body["state"], kept.body["state"]) == ("declined", "settled")
    assert (kept.body["split"]["current_year_fen"], kept.body["split"]["cash_fen"]) == (300, 700)
    assert kept.body["bank_notice"] == "BANK_UNAVAILABLE"


async def _until_down(till: RawTerminal) -> None:
    """Wait until the service has seen that the links are down."""
    async with asyncio.timeout(20):
        while True:
            metrics = (await till.plain("GET", "/metrics")).raw.decode()
            ready = [row for row in metrics.splitlines() if row.startswith("settlement_bank_link_ready{")]
            if ready and all(row.endswith(" 0.0") for row in ready):
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
async def test_service_killed_between_hold_and_answer(own_service: RunningService, when: str) -> None:
    service = own_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    await service.bank.add_fault(_fault(image, "delay_ms", delay_ms=60_000, when=when))
    credentials = await service.enrolled()
    async with raw_terminal(service.base_url, credentials) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], deadline_ms=8_000)
        call = asyncio.create_task(till.call("POST", "/v1/settlements", request))
        async with asyncio.timeout(20):
            while not any(fault.played for fault in await service.bank.faults()):
                await asyncio.sleep(0.02)
        await service.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await call
    await service.bank.clear_faults()
    await service.process.start()
    async with raw_terminal(service.base_url, credentials) as till:
        answer = await till.call("POST", "/v1/settlements", request)
        state = await _follow(till, answer, "settled", "reversed")
    if when == "after_commit":
        assert state == "settled"
        assert await service.live_debits(image) == [700]
        assert await service.balances(image) == (0, 0)
    else:
        assert state == "reversed"
        assert await service.live_debits(image) == []
        assert await service.balances(image) == (300, 0)


async def test_bank_host_killed_in_the_middle_keeps_one_debit(own_service: RunningService) -> None:
    service = own_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    await service.bank.add_fault(_fault(image, "delay_ms", delay_ms=60_000, when="after_commit"))
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)], wait_ms=0)
        answer = await till.call("POST", "/v1/settlements", request)
        async with asyncio.timeout(20):
            while not await service.bank_books(image):
                await asyncio.sleep(0.02)
        await service.host.kill()
        await service.host.start()
        assert await _follow(till, answer, "settled", "reversed") == "settled"
    assert await service.live_debits(image) == [700]


async def test_a_void_whose_answer_is_lost_gives_back_once(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        paid = await till.call("POST", "/v1/settlements", till.settlement(image, VirtualCard(image), [line(1_000)]))
        lost = Match(mti="0200", processing_code="200000", pan=image.pan)
        await service.bank.add_fault(FaultSpec(action="drop_after_commit", bank="ICBC", match=lost))
        path = f"/v1/settlements/{paid.body['settlement_id']}/reversal"
        taken = await till.call("POST", path, {"idempotency_key": f"undo-{till.terminal_id}"})
        assert (taken.status, taken.body["state"]) == (202, "reversing")
        assert await _follow(till, paid, "reversed") == "reversed"
    books = [(item.kind, item.state, item.moved_fen) for item in await service.bank_books(image)]
    assert [each[:2] for each in books] == [("debit", "voided"), ("void", "done")]
    assert await service.balances(image) == (300, 0)


async def test_service_killed_while_the_bank_is_being_told_of_a_reversal(own_service: RunningService) -> None:
    service = own_service
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    credentials = await service.enrolled()
    async with raw_terminal(service.base_url, credentials) as till:
        paid = await till.call("POST", "/v1/settlements", till.settlement(image, VirtualCard(image), [line(1_000)]))
        slow = Match(mti="0200", processing_code="200000", pan=image.pan)
        await service.bank.add_fault(
            FaultSpec(action="delay_ms", bank="ICBC", match=slow, delay_ms=60_000, when="after_commit")
        )
        path = f"/v1/settlements/{paid.body['settlement_id']}/reversal"
        call = asyncio.create_task(till.call("POST", path, {"idempotency_key": f"undo-{till.terminal_id}"}))
        async with asyncio.timeout(20):
            while not any(fault.played for fault in await service.bank.faults()):
                await asyncio.sleep(0.02)
        await service.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await call
    await service.bank.clear_faults()
    await service.process.start()
    async with raw_terminal(service.base_url, credentials) as till:
        assert await _follow(till, paid, "reversed") == "reversed"
    assert [(item.kind, item.state) for item in await service.bank_books(image)] == [
        ("debit", "voided"),
        ("void", "done"),
    ]
    assert await service.balances(image) == (300, 0)
