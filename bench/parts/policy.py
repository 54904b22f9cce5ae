"""The plans' split alone: a visit of 20 lines and a stay of 20,000, through `settlement.policy`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence

from bench.cells import Cell, Part, Reading
from bench.parts.crypto import per_cpu_second
from bench.world import World
from settlement.policy.book import PlanBook
from settlement.policy.evaluate import evaluate, judge_line
from settlement.policy.plan import Person, Visit

VISIT_LINES, STAY_LINES = 20, 20_000
_DAY = dt.date(2018, 10, 8)
_PERSON = Person(status="working", born_on=dt.date(1980, 5, 1))


def splitting(book: PlanBook, visit: Visit, lines: int) -> Callable[[], None]:
    """Judging so many lines of all three classes and splitting them, as one call: from the deductible into the fund."""
    found = book.judgement("employees", _DAY, _PERSON, visit, 3)
    share = found.plan.lines.default_share
    raw = [(number, "AAB"[number % 3] if number % 7 else "C", 1_000 + number * 37 % 9_000) for number in range(lines)]
    balances = {"current_year": 20_000, "carried_over": 20_000}

    def split() -> None:
        judged = [judge_line(number, category, fen, share=share) for number, category, fen in raw]
        evaluate(
            found.rule, found.plan.lines, judged, balances=balances, counted={"covered": 140_000}, remainder="bank"
        )

    return split


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    book = PlanBook.load()
    visit, stay = splitting(book, "outpatient", VISIT_LINES), splitting(book, "inpatient", STAY_LINES)
    each_s = world.options.seconds / 2

    async def measure() -> list[Reading]:
        visits = await asyncio.to_thread(per_cpu_second, visit, each_s)
        stays = await asyncio.to_thread(per_cpu_second, stay, each_s)
        return [
            Reading(quantity="visit", value=visits, unit="splits/CPU-s", title=f"a visit of {VISIT_LINES} lines"),
            Reading(quantity="stay", value=stays, unit="splits/CPU-s", title=f"a stay of {STAY_LINES} lines"),
        ]

    yield [Cell(key="policy", title="The plans' split, one core", measure=measure)]


POLICY = Part(name="policy", title="the plans' split, one core", open=_open)
