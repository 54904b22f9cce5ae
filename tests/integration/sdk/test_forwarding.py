"""Store and forward: what a till owes goes out in order, one at a time for each bill, for as long as it takes."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from terminal_sdk import (
    ForwarderBusy,
    ForwardPolicy,
    NotYetKnown,
    QueueFull,
    Refunded,
    RefundLine,
    Refused,
    Reversed,
    Terminal,
    Waiting,
    error_in_words,
)
from terminal_sdk.card import CardSession
from terminal_sdk.journal import ForwardLock, Journal
from tests.support.stepping_clock import SteppingClock

SETTLEMENT_ID = "0190b0a4-0000-7000-8000-000000000001"
OTHER_ID = "0190b0a4-0000-7000-8000-000000000002"
REVERSAL = f"POST /v1/settlements/{SETTLEMENT_ID}/reversal"
POLICY = ForwardPolicy(backoff_first_s=1, backoff_max_s=8, idle_s=2, retry_after_max_s=60)


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def till(make_terminal: Any, clock: SteppingClock) -> AsyncIterator[Terminal]:
    """A till whose clock moves by sleeping, and whose random numbers are all 0."""
    async with make_terminal(clock=clock, jitter=lambda: 0.0, sends_max=1, rounds_max=1) as opened:
        yield opened


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.002)


async def owe(peer: Any, steps: Any, till: Terminal, *settlement_ids: str) -> None:
    """Reversals that find no answer."""
    otherwise, peer.otherwise = peer.otherwise, steps.cut
    for settlement_id in settlement_ids:
        assert isinstance(await till.reverse(settlement_id=settlement_id), NotYetKnown)
    peer.otherwise = otherwise
    peer.heard.clear()


async def test_a_reversal_waits_until_the_service_is_back(
    peer: Any, steps: Any, till: Terminal, clock: SteppingClock
) -> None:
    await owe(peer, steps, till, SETTLEMENT_ID)
    ended: list[Any] = []
    peer.script.extend([steps.cut, steps.page(502), peer.hang, steps.cut, steps.cut, steps.cut])
    peer.otherwise = steps.reversal(arrived=True)
    clock.sleeps.clear()
    quick = ForwardPolicy(backoff_first_s=1, backoff_max_s=8, try_s=0.3)
    async with till.forwarder(quick, on_result=ended.append):
        await until(lambda: ended)
    (result,) = ended
    assert isinstance(result, Reversed)
    assert len({heard.body for heard in peer.heard}) == 1
    assert len(peer.heard) == 7
    # The direct call was the first try; each distance is that of the try before, doubled up to the limit.
    pauses = [round(each, 3) for each in clock.sleeps if each >= 1]
    assert [max(pauses[:index]) for index in (2, 4, 6)] == sorted(max(pauses[:index]) for index in (2, 4, 6))
    assert max(pauses) == 8
    assert await till.open_attempts() == []


async def test_distances_double_up_to_their_limit_with_jitter() -> None:
    assert [POLICY.distance_s(count, 0.0) for count in (1, 2, 3, 4, 5, 5_000)] == [1, 2, 4, 8, 8, 8]
    assert POLICY.distance_s(3, 1.0) == 2
    assert POLICY.distance_s(1, 0.0, retry_after_s=7) == 7
    assert POLICY.distance_s(1, 0.0, retry_after_s=3_600) == 60


async def test_what_one_bill_owes_goes_in_order_and_bills_do_not_wait_for_each_other(
    peer: Any, steps: Any, till: Terminal
) -> None:
    peer.otherwise = steps.cut
    line = RefundLine(line_no=1, amount_fen=100)
    refund = await till.refund(settlement_id=SETTLEMENT_ID, lines=[line])
    reversal = await till.reverse(settlement_id=SETTLEMENT_ID)
    other = await till.reverse(settlement_id=OTHER_ID)
    assert [type(each) for each in (refund, reversal, other)] == [NotYetKnown] * 3
    assert isinstance(reversal, NotYetKnown)
    assert reversal.reason == "behind an earlier one"
    assert peer.calls(REVERSAL) == []
    peer.heard.clear()
    at_work: set[str] = set()

    async def slow(heard: Any) -> Any:
        bill = heard.path.split("/")[3]
        assert bill not in at_work
        at_work.add(bill)
        await asyncio.sleep(0.05)
        at_work.discard(bill)
        answer = steps.refund() if heard.path.endswith("/refunds") else steps.reversal(arrived=True)
        return await answer(heard)

    peer.otherwise = slow
    results = await till.forwarder(POLICY).once()
    paths = [heard.path for heard in peer.heard]
    assert sorted(type(each).__name__ for each in results) == ["Refunded", "Reversed", "Reversed"]
    assert paths.index(f"/v1/settlements/{SETTLEMENT_ID}/refunds") < paths.index(
        f"/v1/settlements/{SETTLEMENT_ID}/reversal"
    )
    assert len(peer.heard) == 3


async def test_a_call_and_the_forwarder_are_never_at_one_bill_at_once(
    peer: Any, steps: Any, terminal: Terminal
) -> None:
    await owe(peer, steps, terminal, SETTLEMENT_ID)
    at_once = 0

    async def slow(heard: Any) -> Any:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        await asyncio.sleep(0.05)
        at_once -= 1
        return await steps.reversal(arrived=True)(heard)

    peer.otherwise = slow
    async with terminal.forwarder(POLICY):
        results = await asyncio.gather(*(terminal.reverse(settlement_id=SETTLEMENT_ID) for _ in range(3)))
    assert [type(each) for each in results] == [Reversed] * 3


async def test_a_bill_that_nobody_answers_does_not_hold_up_the_others(peer: Any, steps: Any, till: Terminal) -> None:
    await owe(peer, steps, till, SETTLEMENT_ID, OTHER_ID)

    async def deaf_to_one(heard: Any) -> Any:
        return None if SETTLEMENT_ID in heard.path else await steps.reversal(arrived=True)(heard)

    peer.otherwise = deaf_to_one
    ended: list[Any] = []
    async with till.forwarder(POLICY, on_result=ended.append):
        await until(lambda: ended)
    assert {each.bill: each.need for each in await till.waiting()} == {SETTLEMENT_ID: "send", OTHER_ID: "hand_out"}


async def test_only_one_forwarder_is_at_work_on_a_journal(peer: Any, steps: Any, till: Terminal) -> None:
    await owe(peer, steps, till, SETTLEMENT_ID)
    async with till.forwarder(POLICY):
        with pytest.raises(ForwarderBusy):
            await till.forwarder(POLICY).once()
        with pytest.raises(ForwarderBusy):
            async with till.forwarder(POLICY):
                pass
    peer.otherwise = steps.reversal(arrived=True)
    assert [type(each) for each in await till.forwarder(POLICY).once()] == [Reversed]


async def test_leaving_the_terminal_ends_its_forwarder(
    peer: Any, steps: Any, make_terminal: Any, journal_path: Any
) -> None:
    async with make_terminal() as terminal:
        await owe(peer, steps, terminal, SETTLEMENT_ID)
        peer.otherwise = peer.hang
        await terminal.forwarder(POLICY).__aenter__()
        await until(lambda: peer.heard)
    with ForwardLock(journal_path):
        pass
    assert steps.journal_rows(journal_path)[0][2] == "sent"


@pytest.mark.parametrize(("jump_days", "at_least_s", "at_most_s"), [(0, 2, 8), (-400, 8, 14), (400, 0, 2)])
async def test_the_queue_and_its_plan_outlast_the_till(
    jump_days: int, at_least_s: float, at_most_s: float, peer: Any, steps: Any, make_terminal: Any, clock: SteppingClock
) -> None:
    """After a restart the next try keeps its distance, but never one that only a jump of the clock explains."""
    settings: dict[str, Any] = {"clock": clock, "jitter": lambda: 0.0, "sends_max": 1, "rounds_max": 1}
    async with make_terminal(**settings) as terminal:
        await owe(peer, steps, terminal, SETTLEMENT_ID)
        peer.otherwise = steps.cut
        await terminal.forwarder(POLICY).once()
        (planned,) = await terminal.waiting()
        assert planned.next_try_at is not None
        assert planned.tried_at is not None
        assert planned.next_try_at - planned.tried_at == dt.timedelta(seconds=2)
        assert planned.tries == 2
    clock.set_by = dt.timedelta(days=jump_days)
    tried_at: list[float] = []

    async def note(heard: Any) -> Any:
        tried_at.append(clock.passed)
        return await steps.reversal(arrived=True)(heard)

    peer.otherwise = note
    async with make_terminal(**settings) as terminal:
        begun = clock.passed
        async with terminal.forwarder(POLICY):
            await until(lambda: tried_at)
    assert at_least_s <= tried_at[0] - begun <= at_most_s


async def test_a_jump_of_the_clock_while_it_runs_changes_no_distance(
    peer: Any, steps: Any, till: Terminal, clock: SteppingClock
) -> None:
    await owe(peer, steps, till, SETTLEMENT_ID)
    jumps = [dt.timedelta(days=-400), dt.timedelta(days=400), dt.timedelta()]
    begun = clock.passed

    async def jump(_: Any) -> Any:
        clock.set_by = jumps.pop(0)
        peer.clock_ahead_ms = clock.set_by // dt.timedelta(milliseconds=1)

    peer.script.extend([jump, jump, jump])
    peer.otherwise = steps.reversal(arrived=True)
    ended: list[Any] = []
    async with till.forwarder(POLICY, on_result=ended.append):
        await until(lambda: ended)
    assert not jumps
    assert clock.passed - begun < 60


async def test_a_service_that_says_when_is_asked_then(
    peer: Any, steps: Any, till: Terminal, clock: SteppingClock
) -> None:
    await owe(peer, steps, till, SETTLEMENT_ID)
    peer.script.extend(
        [
            steps.refuse(503, "OVERLOADED", retry_after_ms=5_000),
            steps.refuse(503, "NOT_READY", retry_after_ms=900_000),
            steps.refuse(429, "TERMINAL_FLOODING", retry_after_ms=1_000),
            steps.refuse(504, "TIMED_OUT"),
        ]
    )
    peer.otherwise = steps.reversal(arrived=True)
    clock.sleeps.clear()
    ended: list[Any] = []
    async with till.forwarder(POLICY, on_result=ended.append):
        await until(lambda: ended)
    assert 5 in clock.sleeps
    assert 60 in clock.sleeps
    assert 900 not in clock.sleeps
    assert isinstance(ended[0], Reversed)


@pytest.mark.parametrize("code", ["TERMINAL_SUSPENDED", "INSTITUTION_SUSPENDED", "PERSON_BUSY"])
async def test_a_refusal_of_who_asks_or_when_leaves_the_reversal_owed(
    code: str, peer: Any, steps: Any, till: Terminal
) -> None:
    more = {"retry_after_ms": 1} if code == "PERSON_BUSY" else {}
    peer.otherwise = steps.refuse(403, code, **more)
    result = await till.reverse(settlement_id=SETTLEMENT_ID)
    assert isinstance(result, NotYetKnown)
    assert result.reason == code
    (waits,) = await till.waiting()
    assert (waits.need, waits.last_error) == ("send", code)


async def test_a_reversal_that_is_refused_for_good_is_told_and_not_forwarded(
    peer: Any, steps: Any, till: Terminal
) -> None:
    await owe(peer, steps, till, SETTLEMENT_ID)
    peer.otherwise = steps.unknown
    (result,) = await till.forwarder(POLICY).once()
    assert isinstance(result, Refused)
    assert await till.forwarder(POLICY).once() == []
    (waits,) = await till.waiting()
    assert (waits.need, waits.outcome) == ("hand_out", "refusal")
    assert await till.mark_handed_out(result)
    assert await till.waiting() == []


async def test_a_pass_ends_early_where_nothing_answers(peer: Any, steps: Any, till: Terminal) -> None:
    await owe(peer, steps, till, *(f"0190b0a4-0000-7000-8000-00000000000{digit}" for digit in range(6)))
    peer.otherwise = steps.cut
    results = await till.forwarder(POLICY).once()
    assert [type(each) for each in results] == [NotYetKnown] * 3


async def test_a_full_queue_is_told_before_anything_is_sent(
    peer: Any, steps: Any, make_terminal: Any, credentials: Any, journal_path: Any, card: CardSession, bill: Any
) -> None:
    own = credentials
    with Journal(journal_path, terminal_id=own.terminal_id, key=own.key, queue_max=1) as journal:
        async with make_terminal(journal=journal) as terminal:
            await owe(peer, steps, terminal, SETTLEMENT_ID)
            for begin in (
                terminal.settle(card=card, bank_ceiling_fen=0, **bill),
                terminal.reverse(settlement_id=OTHER_ID),
                terminal.refund(settlement_id=OTHER_ID, lines=[RefundLine(line_no=1)]),
            ):
                with pytest.raises(QueueFull):
                    await begin
            assert peer.heard == []
            peer.otherwise = steps.reversal(arrived=True)
            assert len(await terminal.forwarder(POLICY).once()) == 1
            assert isinstance(await terminal.reverse(settlement_id=OTHER_ID), Reversed)


async def test_waiting_tells_what_since_when_and_why(
    peer: Any, steps: Any, till: Terminal, clock: SteppingClock, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.cut
    doubt = await till.settle(card=card, bank_ceiling_fen=0, **bill)
    owed = await till.reverse(settlement_id=SETTLEMENT_ID)
    learn, send = await till.waiting()
    assert isinstance(learn, Waiting)
    assert (learn.need, learn.idempotency_key, learn.operation) == ("learn", doubt.idempotency_key, "settlement")
    assert (send.need, send.idempotency_key, send.operation) == ("send", owed.idempotency_key, "reversal")
    assert (send.tries, send.last_error, send.next_try_at) == (1, "connection lost", None)
    assert send.since <= clock.now()
    assert error_in_words("connection lost") == "The connection was lost before an answer came."
    assert error_in_words("sign-in: timeout") == "The sign-in failed. The service did not answer in time."
    assert "status 418" in error_in_words("status 418")


async def test_refunds_are_journalled_and_repeated_under_one_key(
    peer: Any, steps: Any, till: Terminal, make_terminal: Any
) -> None:
    lines = [RefundLine(line_no=1, amount_fen=100), RefundLine(line_no=2)]
    peer.otherwise = steps.cut
    doubt = await till.refund(settlement_id=SETTLEMENT_ID, lines=lines, reason="returned goods")
    assert isinstance(doubt, NotYetKnown)
    assert doubt.operation == "refund"
    peer.otherwise = steps.refund(final=False)
    again = await till.refund(
        settlement_id=SETTLEMENT_ID, lines=lines, reason="returned goods", idempotency_key=doubt.idempotency_key
    )
    assert isinstance(again, Refunded)
    assert not again.final
    assert len({heard.body for heard in peer.heard}) == 1
    heard = len(peer.heard)
    stored = await till.refund(
        settlement_id=SETTLEMENT_ID, lines=lines, reason="returned goods", idempotency_key=doubt.idempotency_key
    )
    assert stored == again
    assert len(peer.heard) == heard
    peer.script.extend([steps.refund(final=False)])
    peer.otherwise = steps.refund()
    final = await till.wait_refund(again, timeout_s=30)
    assert isinstance(final, Refunded)
    assert final.final
    assert peer.heard[-1].what == "GET /v1/refunds/refund-1"


async def test_a_refund_refused_too_early_after_an_unanswered_send_stays_owed(
    peer: Any, steps: Any, till: Terminal
) -> None:
    """A copy on its way could still be taken, so the refusal ends nothing."""
    line = RefundLine(line_no=1)
    peer.otherwise = steps.refuse(409, "REFUND_TOO_EARLY")
    first = await till.refund(settlement_id=SETTLEMENT_ID, lines=[line])
    assert isinstance(first, Refused)
    peer.script.append(steps.cut)
    doubt = await till.refund(settlement_id=SETTLEMENT_ID, lines=[line])
    assert isinstance(doubt, NotYetKnown)
    (still,) = await till.forwarder(POLICY).once()
    assert isinstance(still, NotYetKnown)
    peer.otherwise = steps.refund()
    (ended,) = await till.forwarder(POLICY).once()
    assert isinstance(ended, Refunded)
