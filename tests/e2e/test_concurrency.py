"""Many at once: one key, one account, one visit; the books hold exactly what they must."""

from __future__ import annotations

import asyncio

from terminal_sdk.card import VirtualCard
from tests.support.raw_terminal import Answer, line, raw_terminal
from tests.support.service import RunningService


async def test_one_key_fifty_times_at_once_is_one_settlement(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, VirtualCard(image), [line(1_000)])
        answers = await _all(till.call("POST", "/v1/settlements", request) for _ in range(50))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.raw for answer in answers}) == 1
        assert answers[0].body["state"] == "settled"
        other = request | {"total_fen": 1_100, "lines": [request["lines"][0] | {"amount_fen": 1_100}]}
        refused = await till.call("POST", "/v1/settlements", other)
    assert (refused.status, refused.code) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert await service.live_debits(image) == [700]
    assert await service.balances(image) == (0, 0)


async def test_a_new_card_presence_under_a_known_key_gets_the_first_answer(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=300, bank_fen=9_000)
    card = VirtualCard(image)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        request = till.settlement(image, card, [line(1_000)])
        first = await till.call("POST", "/v1/settlements", request)
        await till.sign_in()
        names = {"key": request["idempotency_key"], "visit_no": request["visit_no"]}
        again = await till.call("POST", "/v1/settlements", till.settlement(image, card, [line(1_000)], **names))
    assert (first.status, again.raw) == (200, first.raw)
    assert await service.live_debits(image) == [700]


async def test_two_hundred_bills_on_one_account_take_exactly_what_is_there(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=1_000, bank=None)
    card = VirtualCard(image)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        requests = [till.settlement(image, card, [line(100)], pin=False) for _ in range(200)]
        answers = await _all(_patiently(till, request) for request in requests)
    assert {answer.status for answer in answers} == {200}
    insurance = [answer.body["split"]["current_year_fen"] for answer in answers]
    assert sorted(insurance) == [0] * 190 + [100] * 10
    assert await service.balances(image) == (0, 0)


async def test_an_uneven_balance_is_used_to_the_last_fen(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=250, carried_over_fen=33, bank=None)
    card = VirtualCard(image)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        requests = [till.settlement(image, card, [line(100)], pin=False) for _ in range(20)]
        answers = await _all(_patiently(till, request) for request in requests)
    splits = [answer.body["split"] for answer in answers]
    assert sum(split["current_year_fen"] + split["carried_over_fen"] for split in splits) == 283
    assert await service.balances(image) == (0, 0)


async def test_a_double_click_under_two_keys_charges_once(service: RunningService) -> None:
    image = await service.issue_card(bank_fen=9_000)
    card = VirtualCard(image)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        requests = [till.settlement(image, card, [line(700)], visit_no=f"DOUBLE-{till.terminal_id}") for _ in range(2)]
        answers = await _all(till.call("POST", "/v1/settlements", request) for request in requests)
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 1
    assert refused[0].code in {"BILL_ALREADY_SETTLED", "CARD_COUNTER_REPLAYED"}
    assert await service.live_debits(image) == [700]


async def _patiently(till: object, request: dict[str, object]) -> Answer:
    """As a till does: a refusal that says when to come back is obeyed, with the same key."""
    while True:
        answer: Answer = await till.call("POST", "/v1/settlements", request)  # type: ignore[attr-defined]
        if answer.status not in {429, 503} and not (answer.status == 409 and answer.code == "PERSON_BUSY"):
            return answer
        await asyncio.sleep(int(answer.headers["Retry-After"]) / 10)


async def _all(calls: object) -> list[Answer]:
    return await asyncio.gather(*calls)  # type: ignore[misc]
