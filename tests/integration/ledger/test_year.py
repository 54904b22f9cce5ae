"""A year of many persons: bills, reversals and refunds in any order; counters equal a recount from what was posted."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import Counter
from typing import Any

import pytest

from settlement.ledger.records import SagaKey
from settlement.policy.plan import Person
from tests.support.ledger_world import PLANS, TODAY, LedgerWorld, evidence, line

WHO: tuple[tuple[str, Person], ...] = (
    ("employees", Person(status="working", born_on=dt.date(1990, 1, 1))),
    ("employees", Person(status="retired", born_on=dt.date(1950, 5, 5), retired_on=dt.date(2005, 1, 1))),
    ("residents", Person(status="resident", born_on=dt.date(1970, 2, 2))),
    ("minors", Person(status="minor", born_on=TODAY - dt.timedelta(days=3_000))),
)
SIDE_BY_SIDE = 16
NOT_IN_BANDS = {"own_expense", "above_price_ceiling", "self_paid_share", "account_first"}


@pytest.mark.parametrize("persons", [60, pytest.param(1_000, marks=pytest.mark.deep)])
async def test_a_years_counters_equal_a_recount_from_the_ledger(world: LedgerWorld, persons: int) -> None:
    chance = random.Random(persons)
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def live(number: int) -> None:
        async with room:
            await _year(world, WHO[number % len(WHO)], random.Random(chance.random()))

    await asyncio.gather(*(live(number) for number in range(persons)))
    counted = await _counted(world)
    assert counted == await _recount(world)
    funds = sum(fen for (_, _, _, counter), fen in counted.items() if counter.endswith("fund"))
    assert funds > persons * 10_000, "the funds had something to pay"
    assert await world.pool.fetchval("select count(*) from undo") > persons / 4


async def _year(world: LedgerWorld, who: tuple[str, Person], chance: random.Random) -> None:
    """One person's year, in the order in which the bills came; some are brought in late, some given back late."""
    plan, insured = who
    accounts = (0, 0) if plan != "employees" else (chance.randrange(90_000), chance.randrange(60_000))
    person = await world.person(*accounts)
    settled: list[tuple[SagaKey, int]] = []
    for _ in range(chance.randint(3, 9)):
        lines = [
            line(chance.randint(100, 90_000), number, chance.choice("AAABBC"))
            for number in range(1, chance.randint(2, 5))
        ]
        key = await world.hold_judged(
            person,
            *lines,
            plan=plan,
            insured=insured,
            level=chance.randint(1, 3),
            visit_type=chance.choice(("outpatient", "outpatient", "emergency", "pharmacy")),
            service_date=TODAY - dt.timedelta(days=chance.randrange(366)),
            remainder=chance.choice(("bank", "bank", "cash")),
        )
        if await world.leg(key) is not None:
            answer = chance.choice(("approved", "approved", "approved", "declined"))
            await world.answer(key, answer, settlement_date=TODAY if answer == "approved" else None)
        if await world.state(key) == "settled":
            settled.append((key, len(lines)))
        if settled and chance.random() < 0.25:
            await _give_back(world, *settled.pop(chance.randrange(len(settled))), chance)


async def _give_back(world: LedgerWorld, key: SagaKey, lines: int, chance: random.Random) -> None:
    if chance.random() < 0.5:
        verdict = (await world.reverse(key))[1]
    else:
        part = chance.choice((None, 50))
        verdict = (await world.refund_judged(key, (chance.randint(1, lines), part))).saga_id
    place = SagaKey(key.person_id, key.acceptance_date, verdict)
    if await world.leg(place, "bank_return") is not None:
        await world.ledger.record_return_answer(evidence(place, "approved"), dt.datetime.now(dt.UTC))


Place = tuple[int, str, int, str]
"""Person, plan, insurance year, counter."""


async def _counted(world: LedgerWorld) -> dict[Place, int]:
    rows = await world.pool.fetch("select * from accumulator where fen <> 0")
    return {(row["person_id"], row["plan"], row["insurance_year"], row["counter"]): row["fen"] for row in rows}


async def _recount(world: LedgerWorld) -> dict[Place, int]:
    """From transfers (what the funds paid and got back) and from the bills' parts (what went through bands)."""
    counters: Counter[Place] = Counter()
    bills = await world.pool.fetch(
        """select s.person_id, s.settlement_id, s.service_date, s.returned_fen, s.bill_fen, sb.parts, sb.policy
           from settlement s join settlement_bill sb using (person_id, acceptance_date, settlement_id)
           where s.decision = 'forward'"""
    )
    year_of = {}
    for bill in bills:
        (record,) = bill["policy"]
        plan = PLANS.plan(record["plan"], bill["service_date"])
        place = (bill["person_id"], record["plan"], plan.insurance_year(bill["service_date"]))
        year_of[bill["settlement_id"]] = place
        rule = plan.rules[record["visit_type"], record["group"], record["level"]]
        if rule.counts is not None:
            counters[*place, f"covered/{rule.counts}"] += await _through_bands(world, bill)
    transfers = await world.pool.fetch(
        """select coalesce(u.settlement_id, x.saga_id) as settlement_id, x.part, x.debit_account, x.amount_fen
           from transfer x left join undo u on u.person_id = x.person_id and u.undo_id = x.saga_id
           where x.part in ('pooled_fund', 'additional_fund')"""
    )
    for row in transfers:
        sign = 1 if row["debit_account"].startswith("fund/") else -1
        counters[*year_of[row["settlement_id"]], row["part"]] += sign * row["amount_fen"]
    return {place: fen for place, fen in counters.items() if fen}


async def _through_bands(world: LedgerWorld, bill: Any) -> int:
    """What of a bill still counts: its parts that a band gave, less what refunds took of their lines."""
    if bill["returned_fen"] == bill["bill_fen"]:
        return 0
    left: Counter[int] = Counter()
    outside: Counter[int] = Counter()
    for part in bill["parts"]:
        left[part["line_no"]] += part["amount_fen"]
        if part["rule"] in NOT_IN_BANDS:
            outside[part["line_no"]] += part["amount_fen"]
    if bill["returned_fen"] == 0:
        return left.total() - outside.total()
    (record,) = bill["policy"]
    rows = await world.pool.fetch(
        "select line_no, sum(amount_fen)::bigint as fen from undo_line where settlement_id = $1 group by 1",
        bill["settlement_id"],
    )
    left.subtract({row["line_no"]: row["fen"] for row in rows})
    covered = 0
    for facts in record["lines"]:
        fen = left[facts["line_no"]]
        if facts["category"] != "C":
            covered += fen - (fen * facts["share"] + 5_000) // 10_000
    first = record["balances"].get("current_year", 0) if record["plan"] == "employees" else 0
    if record["visit_type"] == "pharmacy":
        first += record["balances"].get("carried_over", 0)
    return max(0, covered - first)
