"""Virtual time, and processes that end or stand still at any await."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from settlement.simulation.loop import Process, SimulatedLoop, Stalled, current_process


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    made = SimulatedLoop()
    yield made
    made.end()
    assert made.troubles == []


def test_time_jumps_to_the_next_timer(loop: SimulatedLoop) -> None:
    loop.run_until_complete(asyncio.sleep(86_400.0))
    assert loop.time() == pytest.approx(86_400.0)


def test_who_waits_for_nothing_is_told(loop: SimulatedLoop) -> None:
    async def wait() -> None:
        await loop.create_future()

    with pytest.raises(Stalled):
        loop.run_until_complete(wait())


def test_a_killed_process_runs_no_finally_and_takes_no_further_step(loop: SimulatedLoop) -> None:
    seen: list[str] = []
    process = Process(loop, "p")

    async def work() -> None:
        try:
            seen.append("began")
            await asyncio.sleep(1.0)
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    async def story() -> None:
        process.spawn(work(), "work")
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(5.0)
        assert seen == ["began"]

    loop.run_until_complete(story())


def test_a_process_can_be_killed_at_each_of_its_steps(loop: SimulatedLoop) -> None:
    async def work(seen: list[int]) -> None:
        for number in range(5):
            seen.append(number)
            await asyncio.sleep(0.1)

    async def story() -> None:
        for step in range(1, 7):
            process, seen = Process(loop, "p"), list[int]()
            process.kill_at = step
            process.spawn(work(seen), "work")
            await asyncio.sleep(2.0)
            assert seen == list(range(step - 1))
            assert not process.alive

    loop.run_until_complete(story())


def test_a_paused_process_goes_on_later_and_a_timer_cancelled_meanwhile_does_not_fire(loop: SimulatedLoop) -> None:
    process = Process(loop, "p")
    seen: list[float] = []

    async def work() -> None:
        await asyncio.sleep(0.5)
        seen.append(loop.time())
        await asyncio.sleep(2.0)
        seen.append(loop.time())

    async def story() -> None:
        done = process.spawn(work(), "work")
        await asyncio.sleep(0.1)
        process.pause(10.0)
        await done

    timer = loop.call_at(1.0, seen.append, -1.0, context=process.context)
    loop.call_at(0.7, timer.cancel, context=process.context)
    loop.run_until_complete(story())
    assert seen == pytest.approx([10.1, 12.1])


def test_what_a_process_begins_belongs_to_it(loop: SimulatedLoop) -> None:
    process = Process(loop, "p")
    seen: list[Process | None] = []

    async def inner() -> None:
        seen.append(current_process())

    async def outer() -> None:
        await asyncio.create_task(inner())
        loop.call_later(0.1, lambda: seen.append(current_process()))

    async def story() -> None:
        await process.spawn(outer(), "outer")
        await asyncio.sleep(1.0)
        seen.append(current_process())

    loop.run_until_complete(story())
    assert seen == [process, process, None]
