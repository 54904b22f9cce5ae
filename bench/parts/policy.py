"""The plans' split alone: a visit of 20 lines and a stay of 20,000, through `settlement.policy`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from bench.cells import Cell, Part, Reading
from bench.parts.crypto import per_cpu_second
from bench.world import World
from settlement.policy.book import PlanBook
from settlement.policy.catalog import Catalog
from settlement.policy.judge import Bill, Insured, StayRef, judge
from settlement.policy.plan import Person, Visit
from terminal_sdk.wire import FeeLine, StayLine

VISIT_LINES, STAY_LINES = 20, 20_000
_DAY = dt.date(2018, 10, 8)
_PERSON = Person(status="working", born_on=dt.date(1980, 5, 1))


def splitting(book: PlanBook, visit: Visit, lines: int) -> Callable[[], None]:
    """Judging so many lines of all three classes as a settlement does, from the deductible into the fund, with the
    record that is kept of it; a stay's lines are of forty days.
    """
    kinds = ["AAB"[number % 3] if number % 7 else "C" for number in range(lines)]
    amounts = [1_000 + number * 37 % 9_000 for number in range(lines)]
    facts = [
        {"line_no": number, "item_code": f"X{number % 500}", "item_name": "item", "category": kind, "amount_fen": fen}
        for number, (kind, fen) in enumerate(zip(kinds, amounts, strict=True), start=1)
    ]
    stay = visit == "inpatient"
    dated = [each | {"service_date": _DAY + dt.timedelta(days=place % 40)} for place, each in enumerate(facts)]
    bill = Bill(
        lines=msgspec.convert(dated, list[StayLine]) if stay else msgspec.convert(facts, list[FeeLine]),
        service_date=_DAY,
        visit_type=visit,
        level=3,
        items=Catalog(),
        remainder="bank",
        stay=StayRef(uuid.UUID(int=1), _DAY) if stay else None,
    )
    year = book.plan("employees", _DAY).insurance_year(_DAY)
    insured = Insured(
        plan="employees",
        person=_PERSON,
        balances={"current_year": 20_000, "carried_over": 20_000},
        counters={year: {"covered/outpatient": 140_000, "covered/inpatient": 140_000}},
    )

    def split() -> None:
        judge(bill, insured, book)

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
