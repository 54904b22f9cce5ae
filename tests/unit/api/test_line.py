"""The line before the work, on a clock of its own: who goes first, who waits how long, who is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from settlement.api.line import Line, LineLimits, Urgency
from settlement.errors import ServiceError

BILL, STATUS, UNDO = Urgency.BILL, Urgency.STATUS, Urgency.UNDO


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A line, and what came of those who stood in it, in the order in which it came."""

    def __init__(self, **limits: float) -> None:
        self.clock = Clock()
        defaults = {"places": 2, "places_reserved": 0, "places_per_terminal": 2, "waiting_max": 4, "patience_s": 30.0}
        self.line = Line(LineLimits(**(defaults | limits)), self.clock)  # type: ignore[arg-type]
        self.came: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, name: str, urgency: Urgency = BILL) -> None:
        """Somebody named ``terminal/number`` asks for a place and keeps it."""

        async def stand() -> None:
            try:
                await self.line.enter(urgency, name.partition("/")[0])
            except ServiceError as error:
                self.came.append(f"{name} {error.code}")
            else:
                self.came.append(name)

        self.tasks.append(asyncio.create_task(stand()))
        await settled()

    async def leave(self, terminal: str, urgency: Urgency = BILL) -> None:
        self.line.leave(urgency, terminal)
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def world(**limits: float) -> AsyncIterator[World]:
    made = World(**limits)
    try:
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_those_for_whom_there_is_room_go_to_work_and_the_others_follow_in_order() -> None:
    async with world() as the:
        for name in ("A", "B", "C", "D"):
            await the.ask(name)
        assert the.came == ["A", "B"]
        await the.leave("B")
        await the.leave("A")
        assert the.came == ["A", "B", "C", "D"]
        assert (the.line.working, the.line.waiting) == (2, 0)


async def test_undo_and_status_go_before_bills() -> None:
    async with world(places=1) as the:
        await the.ask("A")
        await the.ask("B")
        await the.ask("C", STATUS)
        await the.ask("D", UNDO)
        await the.leave("A")
        await the.leave("D", UNDO)
        await the.leave("C", STATUS)
        assert the.came == ["A", "D", "C", "B"]


async def test_bills_leave_places_to_undo_and_status() -> None:
    async with world(places=4, places_reserved=2) as the:
        for name in ("A", "B", "C"):
            await the.ask(name)
        await the.ask("D", STATUS)
        await the.ask("E", UNDO)
        assert the.came == ["A", "B", "D", "E"]
        await the.leave("D", STATUS)
        assert the.came == ["A", "B", "D", "E"]  # a reserved place is not a bill's
        await the.leave("A")
        assert the.came[-1] == "C"


async def test_terminals_take_turns() -> None:
    async with world(places=1, places_per_terminal=1) as the:
        for name in ("A/1", "A/2", "A/3", "B/1", "C/1"):
            await the.ask(name)
        for terminal in ("A", "A", "B", "C"):
            await the.leave(terminal)
        assert the.came == ["A/1", "A/2", "B/1", "C/1", "A/3"]


async def test_one_terminal_has_few_of_the_places_and_others_pass_it() -> None:
    async with world(places=4, places_per_terminal=2) as the:
        for number in range(4):
            await the.ask(f"A/{number}")
        await the.ask("B/0")
        assert the.came == ["A/0", "A/1", "B/0"]
        await the.leave("A")
        assert the.came[-1] == "A/2"


async def test_a_full_line_refuses_at_once() -> None:
    async with world(places=1, waiting_max=1) as the:
        for name in ("A", "B", "C"):
            await the.ask(name)
        await the.ask("D", UNDO)  # has a line of its own
        assert the.came == ["A", "C OVERLOADED"]
        await the.leave("A")
        assert the.came[-1] == "D"


async def test_who_alone_has_too_much_under_way_is_told_so() -> None:
    async with world(places=4, places_per_terminal=1, waiting_max=1) as the:
        for number in range(3):
            await the.ask(f"A/{number}")
        assert the.came == ["A/0", "A/2 TERMINAL_FLOODING"]


async def test_patience_ends() -> None:
    async with world(places=1, patience_s=0.01, urgent_patience_s=30) as the:
        await the.ask("A")
        await the.ask("B")
        await the.ask("C", STATUS)
        async with asyncio.timeout(10):
            while len(the.came) < 2:
                await asyncio.sleep(0.005)
        assert the.came == ["A", "B OVERLOADED"]
        assert the.line.waiting == 1


async def test_in_a_standing_line_nobody_waits_long_until_it_has_been_empty() -> None:
    async with world(places=1, waiting_max=10, patience_s=30, standing_s=0.01) as the:
        await the.ask("A")
        await the.ask("B")
        assert not the.line.standing
        the.clock.now += 30.5
        assert the.line.standing
        await the.ask("C")
        async with asyncio.timeout(10):
            while the.came != ["A", "C OVERLOADED"]:
                await asyncio.sleep(0.005)
        await the.leave("A")
        assert the.came[-1] == "B"
        assert not the.line.standing
        await the.ask("D")
        await asyncio.sleep(0.05)
        assert the.came[-1] == "B"  # patience is back to what it was: D waits
        assert the.line.waiting == 1


async def test_who_goes_away_leaves_the_line() -> None:
    async with world(places=1) as the:
        await the.ask("A")
        await the.ask("B")
        await the.ask("C")
        the.tasks[1].cancel()
        await settled()
        assert the.line.waiting == 1
        await the.leave("A")
        assert the.came == ["A", "C"]


async def test_who_goes_away_just_as_the_turn_comes_takes_no_place_along() -> None:
    async with world(places=1) as the:
        for name in ("A", "B", "C"):
            await the.ask(name)
        the.line.leave(BILL, "A")  # B's turn; B does not know yet
        the.tasks[1].cancel()
        await settled()
        assert the.came == ["A", "C"]
        await the.leave("C")
        assert (the.line.working, the.line.waiting) == (0, 0)


async def test_the_turn_of_one_who_is_going_away_is_the_next_ones() -> None:
    async with world(places=1) as the:
        for name in ("A", "B", "C"):
            await the.ask(name)
        the.tasks[1].cancel()  # B does not know yet
        the.line.leave(BILL, "A")
        await settled()
        assert the.came == ["A", "C"]
        await the.leave("C")
        assert (the.line.working, the.line.waiting) == (0, 0)


async def test_nothing_is_remembered_of_who_is_gone() -> None:
    async with world() as the:
        for number in range(100):
            await the.ask(str(number))
            await the.leave(str(number))
        assert not the.line._by_terminal
        assert not any(queue.terminals for queue in the.line._queues.values())


@pytest.mark.parametrize("urgency", list(Urgency))
async def test_a_random_crowd_never_exceeds_the_places_and_all_get_an_answer(urgency: Urgency) -> None:
    line = Line(LineLimits(places=5, places_reserved=1, places_per_terminal=2, waiting_max=500), Clock())
    most = 0

    async def visit(number: int) -> None:
        nonlocal most
        await line.enter(urgency, str(number % 7))
        most = max(most, line.working)
        await asyncio.sleep(0.001)
        line.leave(urgency, str(number % 7))

    await asyncio.gather(*(visit(number) for number in range(200)))
    assert most == (4 if urgency is BILL else 5)
    assert (line.working, line.waiting) == (0, 0)
