"""Everything that can go wrong on the way, one by one: what the link says, and what the bank's books say."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from settlement.banks.iso.keys import WorkingKeys
from settlement.banks.port import BankOutcome

APPROVED, DECLINED = BankOutcome.APPROVED, BankOutcome.DECLINED
NOT_FOUND, UNKNOWN, NOT_SENT = BankOutcome.NOT_FOUND, BankOutcome.UNKNOWN, BankOutcome.NOT_SENT
SHORT_MS = 1_000
START_FEN = 10_000_000


@pytest.fixture
async def hasty(make_world):
    """A link with little patience, for answers that never come."""
    return await make_world(timeout_ms=SHORT_MS)


def unmatched(kind: str) -> float:
    labels = {"bank": "BOSC", "kind": kind}
    return REGISTRY.get_sample_value("settlement_bank_unmatched_answers_total", labels) or 0.0


@pytest.mark.parametrize(("action", "booked"), [("drop_before_commit", 0), ("drop_after_commit", 1)])
async def test_no_answer_is_unknown_on_either_side_of_the_commit(hasty, action: str, booked: int) -> None:
    await hasty.fault(action, mti="0200")
    order = hasty.order()
    answer = await hasty.links.debit(order, hasty.soon)

    assert (answer.outcome, answer.detail) == (UNKNOWN, "timeout")
    assert len(await hasty.books(state="live")) == booked
    assert len(await hasty.log()) == 1
    undone = await hasty.links.reverse(hasty.order(original=order), hasty.soon)
    assert undone.outcome is (APPROVED if booked else NOT_FOUND)
    assert await hasty.balance() == START_FEN


@pytest.mark.parametrize(
    ("action", "detail"), [("wrong_mac", "bad_mac"), ("wrong_amount", "wrong_amount"), ("garbage", "garbage")]
)
async def test_an_answer_that_proves_nothing_is_unknown(world, action: str, detail: str) -> None:
    await world.fault(action, mti="0200")
    order = world.order()
    answer = await world.links.debit(order, world.soon)

    assert (answer.outcome, answer.detail) == (UNKNOWN, detail)
    assert (await world.links.inquire(world.order(original=order), world.soon)).outcome is APPROVED


async def test_an_answer_with_another_identity_is_not_ours(hasty) -> None:
    before = unmatched("unsolicited")
    await hasty.fault("wrong_identity", mti="0200")
    answer = await hasty.links.debit(hasty.order(), hasty.soon)
    assert (answer.outcome, answer.detail) == (UNKNOWN, "timeout")
    assert unmatched("unsolicited") == before + 1
    assert not hasty.late


async def test_a_late_answer_is_counted_and_handed_on(hasty, wait_until) -> None:
    before = unmatched("late")
    await hasty.fault("delay_ms", delay_ms=3 * SHORT_MS, mti="0200")
    order = hasty.order()
    answer = await hasty.links.debit(order, hasty.soon)
    assert (answer.outcome, answer.detail) == (UNKNOWN, "timeout")

    await wait_until(lambda: hasty.late)
    (late,) = hasty.late
    assert (late.verb, late.identity) == ("debit", order.identity)
    assert late.answer.outcome is APPROVED
    assert unmatched("late") == before + 1


async def test_a_doubled_answer_is_counted_and_harmless(world, wait_until) -> None:
    before = unmatched("duplicate")
    await world.fault("duplicate", mti="0200")
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED
    await wait_until(lambda: unmatched("duplicate") == before + 1)
    assert not world.late  # it says nothing new
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED


async def test_a_callback_that_fails_does_no_harm(make_world, wait_until) -> None:
    world = await make_world(connected=False)

    def broken(_: object) -> None:
        raise RuntimeError

    world.late = type("Broken", (), {"append": staticmethod(broken)})()
    await world.connect(timeout_ms=SHORT_MS)
    before = unmatched("late")
    await world.fault("delay_ms", delay_ms=SHORT_MS + 200, mti="0200")
    assert (await world.links.debit(world.order(), world.soon)).outcome is UNKNOWN
    await wait_until(lambda: unmatched("late") == before + 1)
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED
    await world.links.stop(0.1)


@pytest.mark.parametrize("code", ["68", "91", "94", "96", "98"])
@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
async def test_ambiguous_codes_are_unknown(world, code: str, when: str) -> None:
    await world.fault("answer_code", code=code, when=when, mti="0200")
    answer = await world.links.debit(world.order(), world.soon)
    assert (answer.outcome, answer.response_code) == (UNKNOWN, code)
    assert len(await world.books(state="live")) == (when == "after_commit")


async def test_an_answer_byte_by_byte_is_an_answer(world) -> None:
    await world.fault("trickle", mti="0200")
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED


async def test_half_a_frame_ends_the_connection(make_world, wait_until) -> None:
    from settlement.banks.tuning import LinkTuning

    tuning = LinkTuning(backoff_first_s=0.02, frame_timeout_s=0.2)
    world = await make_world(tuning=tuning)
    await world.fault("half_frame", mti="0200")
    answer = await world.links.debit(world.order(), world.soon)
    assert (answer.outcome, answer.detail) == (UNKNOWN, "slow_frame")
    await wait_until(lambda: world.state().ready)
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED


@pytest.mark.parametrize(("action", "detail"), [("close", "closed"), ("garbage", "garbage")])
async def test_a_lost_connection_leaves_that_banks_messages_unknown_and_no_others(
    make_world, wait_until, action: str, detail: str
) -> None:
    world = await make_world(banks=("BOSC", "CCB"))
    await world.fault("delay_ms", delay_ms=60_000, bank="BOSC", count=5)
    await world.fault("delay_ms", delay_ms=300, bank="CCB", count=5)
    ours = [asyncio.create_task(world.links.debit(world.order(), world.soon)) for _ in range(5)]
    others = [asyncio.create_task(world.links.debit(world.order(bank="CCB"), world.soon)) for _ in range(5)]
    await wait_until(lambda: _all_logged(world))
    await world.fault(action, bank="BOSC")
    last = await world.links.debit(world.order(), world.soon)

    answers = [*await asyncio.gather(*ours), last]
    assert {(answer.outcome, answer.detail) for answer in answers} == {(UNKNOWN, detail)}
    assert {answer.outcome for answer in await asyncio.gather(*others)} == {APPROVED}
    await wait_until(lambda: world.state().ready)
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED


async def _all_logged(world) -> bool:
    return len(await world.log("BOSC")) == 5 and len(await world.log("CCB")) == 5


async def test_a_dead_bank_does_not_slow_the_others(make_world) -> None:
    world = await make_world(banks=("BOSC", "CCB"))
    await world.fault("drop_before_commit", bank="BOSC", count=None)
    dead = [asyncio.create_task(world.links.debit(world.order(), world.soon)) for _ in range(50)]
    answers = [await world.links.debit(world.order(bank="CCB"), world.soon) for _ in range(20)]
    assert {answer.outcome for answer in answers} == {APPROVED}
    assert not any(task.done() for task in dead)
    for task in dead:
        task.cancel()
    await asyncio.gather(*dead, return_exceptions=True)
    assert world.state().in_flight == 0


async def test_a_late_debit_meets_the_tombstone(hasty, wait_until) -> None:
    order = hasty.order()
    await hasty.fault("delay_ms", delay_ms=3 * SHORT_MS, when="before_commit", mti="0200")
    assert (await hasty.links.debit(order, hasty.soon)).outcome is UNKNOWN
    assert (await hasty.links.reverse(hasty.order(original=order), hasty.soon)).outcome is NOT_FOUND

    await wait_until(lambda: hasty.late)
    assert (hasty.late[0].answer.outcome, hasty.late[0].answer.response_code) == (DECLINED, "12")
    assert await hasty.balance() == START_FEN
    assert (await hasty.links.reverse(hasty.order(original=order), hasty.soon)).outcome is NOT_FOUND


async def test_a_bank_without_memory_books_the_late_debit(make_world, wait_until) -> None:
    world = await make_world(timeout_ms=SHORT_MS, remembers_reversal=False)
    order = world.order()
    await world.fault("delay_ms", delay_ms=3 * SHORT_MS, when="before_commit", mti="0200")
    assert (await world.links.debit(order, world.soon)).outcome is UNKNOWN
    assert (await world.links.reverse(world.order(original=order), world.soon)).outcome is NOT_FOUND
    await wait_until(lambda: world.late)
    assert await world.balance() == START_FEN - 1_000
    assert (await world.links.reverse(world.order(original=order), world.soon)).outcome is APPROVED
    assert await world.balance() == START_FEN


async def test_answers_find_their_requests_by_the_whole_identity(make_world) -> None:
    """200 debits under one trace number, terminal and second; the answers come in another order than the requests."""
    world = await make_world()
    one = world.order().identity
    orders = [world.order(number, identity=replace(one, reference=f"R{number:011d}")) for number in range(1, 201)]
    for number, order in enumerate(orders):
        await world.fault("delay_ms", delay_ms=1 + (number * 7_919) % 250, reference=order.identity.reference)
    answers = await asyncio.gather(*(world.links.debit(order, world.soon) for order in orders))

    booked = {item.identity.reference: item for item in await world.books(state="live")}
    assert len(booked) == 200
    for order, answer in zip(orders, answers, strict=True):
        item = booked[order.identity.reference]
        assert answer.outcome is APPROVED
        assert (item.amount_fen, item.authorisation) == (order.amount_fen, answer.authorisation)


async def test_the_same_message_twice_at_once_is_sent_once(world, wait_until) -> None:
    await world.fault("delay_ms", delay_ms=300)
    order = world.order()
    first = asyncio.create_task(world.links.debit(order, world.soon))
    await wait_until(lambda: world.state().in_flight)
    second = await world.links.debit(order, world.soon)
    assert (second.outcome, second.detail) == (UNKNOWN, "in_flight")
    assert (await first).outcome is APPROVED
    assert len(await world.log()) == 1


async def test_beyond_the_limit_nothing_is_sent(make_world, wait_until) -> None:
    world = await make_world(max_in_flight=3)
    await world.fault("delay_ms", delay_ms=500, count=3)
    tasks = [asyncio.create_task(world.links.debit(world.order(), world.soon)) for _ in range(3)]
    await wait_until(lambda: world.state().in_flight == 3)
    refused = await world.links.debit(world.order(), world.soon)
    assert (refused.outcome, refused.detail) == (NOT_SENT, "busy")
    assert {(await task).outcome for task in tasks} == {APPROVED}
    assert len(await world.log()) == 3


async def test_a_refused_mac_leads_to_new_keys(world, wait_until) -> None:
    session = world.links._links["BOSC"]._keeper.session
    session._current = WorkingKeys(session.keys.generation, b"x" * 16, b"y" * 16)
    answer = await world.links.debit(world.order(), world.soon)
    assert (answer.outcome, answer.response_code) == (UNKNOWN, "A0")
    await wait_until(lambda: session.keys.generation == 2)
    assert (await world.links.debit(world.order(), world.soon)).outcome is APPROVED


async def test_keys_change_under_traffic_without_harm(make_world) -> None:
    from settlement.banks.tuning import LinkTuning

    world = await make_world(tuning=LinkTuning(key_lifetime_s=0.0, key_change_pause_s=0.0))
    link = world.links._links["BOSC"]
    for _ in range(40):
        answers = await asyncio.gather(*(world.links.debit(world.order(1), world.soon) for _ in range(5)))
        assert {answer.outcome for answer in answers} == {APPROVED}
    assert link._keeper.session.keys.generation > 3
