"""The two loops of the load process: who waits for whom, what is counted, and from when a latency counts."""

from __future__ import annotations

import asyncio
import time

import pytest

from bench.load.jobs import SETTLED
from bench.load.loops import Operation, closed_loop, open_loop


def operation(outcome: str = SETTLED) -> Operation:
    async def done() -> str:
        await asyncio.sleep(0)
        return outcome

    return done


async def test_a_client_never_has_two_operations_under_way() -> None:
    under_way = [0, 0]
    most = [0, 0]

    def of(client: int) -> Operation:
        async def run() -> str:
            under_way[client] += 1
            most[client] = max(most[client], under_way[client])
            await asyncio.sleep(0.001)
            under_way[client] -= 1
            return SETTLED

        return run

    tally = await closed_loop([[of(0)] * 9, [of(1)] * 9], time.monotonic(), 60.0)
    assert most == [1, 1]
    assert tally.done == len(tally.latencies_ms) == sum(tally.begun)
    assert tally.late_ms == []


async def test_all_stop_when_one_client_has_nothing_left() -> None:
    many = [operation()] * 100_000
    tally = await closed_loop([[operation()] * 3, many], time.monotonic(), 60.0)
    assert tally.ran_out
    assert tally.begun[0] == 3
    assert tally.begun[1] < 10


async def test_what_was_not_used_is_known() -> None:
    used: list[int] = []

    def of(card: int) -> Operation:
        async def run() -> str:
            await asyncio.sleep(0)
            used.append(card)
            return SETTLED

        return run

    cards = list(range(3)) + list(range(100, 117))
    dealt = [[of(card) for card in cards[client::3]] for client in range(3)]
    dealt[0] = dealt[0][:2]  # the first client runs out, so all stop
    tally = await closed_loop(dealt, time.monotonic(), 60.0)
    assert sorted([*used, *tally.unused(cards)]) == cards
    assert len(used) < len(cards)
    # two of each client were used before the clock ran
    assert sorted(cards[:6] + tally.unused(cards[6:])) == sorted(cards[:6] + tally.unused(cards, rehearsed=2))


async def test_the_time_ends_the_loop() -> None:
    tally = await closed_loop([[operation()] * 1_000_000], time.monotonic() - 1.0, 0.5)
    assert not tally.ran_out
    assert tally.begun == [0]
    assert tally.outcomes == {}


async def test_failures_are_counted_by_name_and_have_no_latency() -> None:
    mixed = [operation(), operation("OVERLOADED"), operation(), operation("pending")]
    tally = await closed_loop([mixed], time.monotonic(), 60.0)
    assert tally.outcomes == {SETTLED: 2, "OVERLOADED": 1, "pending": 1}
    assert len(tally.latencies_ms) == 2
    assert tally.done == 2


async def test_planned_arrivals_do_not_wait_for_each_other() -> None:
    first_may_end = asyncio.Event()

    async def first() -> str:
        await first_may_end.wait()
        return SETTLED

    async def second() -> str:
        first_may_end.set()
        return SETTLED

    async with asyncio.timeout(30):
        tally = await open_loop([first, second], time.monotonic(), [0.0, 0.001])
    assert tally.done == 2
    assert tally.begun == [2]


async def test_a_late_begin_is_part_of_the_latency() -> None:
    stall_s = 0.05

    async def stalling() -> str:
        time.sleep(stall_s)  # noqa: ASYNC251  # a generator that falls behind
        return SETTLED

    tally = await open_loop([stalling, operation(), operation()], time.monotonic(), [0.0, 0.0, 0.0])
    # whichever was begun after the stall was late by all of it, and its latency counts from its plan
    assert max(tally.late_ms) >= stall_s * 1_000
    assert sum(latency >= stall_s * 1_000 for latency in tally.latencies_ms) >= 2


async def test_a_plan_that_does_not_fit_the_operations_is_refused() -> None:
    with pytest.raises(ValueError, match="1 operations for 2 planned moments"):
        await open_loop([operation()], time.monotonic(), [0.0, 0.1])
