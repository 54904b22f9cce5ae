"""The turn of the insurance year in the books: once for a person and year; old money follows, new money never does."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import uuid

import asyncpg
import pytest

from settlement.ledger.records import HoldVerdict
from settlement.ledger.years import Opened, Opening, YearBook
from tests.support.ledger_world import NOW, TODAY, LedgerWorld, evidence, line

HOUR = dt.timedelta(hours=1)


async def balances(world: LedgerWorld, person: int) -> tuple[int, int, int]:
    """Current year posted and held, carried over posted (fen)."""
    row = await world.accounts(person)
    return row["current_year_posted_fen"], row["current_year_held_fen"], row["carried_over_posted_fen"]


async def test_what_is_available_is_carried_over_and_the_credit_posted(world: LedgerWorld) -> None:
    person = await world.person(1_000, 30)
    before = (await world.accounts(person))["version"]
    assert await world.open_year(person, 2018, 5_000) == Opened("opened", 1_000, 5_000)
    assert await balances(world, person) == (5_000, 0, 1_030)
    after = await world.accounts(person)
    assert (after["opened_year"], after["version"]) == (2018, before + 1)
    rows = await world.pool.fetch(
        """select part, debit_account, credit_account, x.amount_fen, c.reason from transfer x
           join account_year y on y.turn_id = x.saga_id
           left join account_credit c on c.credit_id = y.turn_id and x.part = c.account order by part"""
    )
    assert [tuple(row) for row in rows] == [
        ("current_year", "fund/personal_accounts", "person/current_year", 5_000, "test"),
        ("rollover", "person/current_year", "person/carried_over", 1_000, None),
    ]


async def test_a_year_is_opened_once(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    await world.open_year(person, 2018, 5_000)
    before = await world.accounts(person)
    assert await world.open_year(person, 2018, 5_000) == Opened("known", 1_000, 5_000)
    assert await world.open_year(person, 2018, 5_001) == Opened("differs", 1_000, 5_000)
    assert (await world.open_year(person, 2017, 5_000)).outcome == "later"
    assert (await world.open_year(person + 1_000, 2018)).outcome == "no_accounts"
    assert await world.accounts(person) == before
    assert (await world.open_year(person, 2019)).rolled_fen == 5_000
    assert await balances(world, person) == (0, 0, 6_000)


@pytest.mark.parametrize("year", ["2017", "null"])
async def test_the_database_refuses_a_year_that_goes_back(world: LedgerWorld, year: str) -> None:
    person = await world.person()
    await world.open_year(person, 2018)
    with pytest.raises(asyncpg.RestrictViolationError, match="never opened backwards"):
        await world.pool.execute(f"update insurance_accounts set opened_year = {year}")  # noqa: S608 - ours


@pytest.mark.parametrize("table", ["account_year", "account_year_sweep"])
async def test_what_was_turned_stays_on_record(world: LedgerWorld, table: str) -> None:
    key = await world.hold(await world.person(1_000), line(1_500))
    await world.open_year(key.person_id, 2018, 1)
    await world.answer(key, "declined")
    assert await world.sweep(key.person_id, 2018) == 1_000
    for statement in ("update {} set rolled_fen = 1", "delete from {}", "truncate {} cascade"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await world.pool.execute(statement.format(table))


async def test_a_bill_that_was_split_before_the_turn_is_split_again(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    request = await world.request(person, [line(800)])
    await world.open_year(person, 2018, 200)
    assert (await world.ledger.hold(request)).outcome == "stale"


async def test_held_money_stays_and_follows_once_when_it_is_released(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    key = await world.hold(person, line(900, category="A"), line(50, 2, category="C"))
    assert await world.open_year(person, 2018, 300) == Opened("opened", 100, 300)
    assert await balances(world, person) == (1_200, 900, 100)
    assert await world.sweep(person, 2018) == 0
    await world.answer(key, "declined")
    assert await balances(world, person) == (1_200, 0, 100)
    assert await world.sweep(person, 2018) == 900
    assert await world.sweep(person, 2018) == 0
    assert await balances(world, person) == (300, 0, 1_000)


async def test_held_money_that_is_spent_leaves_nothing_to_follow(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    key = await world.hold(person, line(1_500))
    await world.open_year(person, 2018, 300)
    assert await world.answer(key, "approved") == "capture"
    assert await world.sweep(person, 2018) == 0
    assert await balances(world, person) == (300, 0, 0)


async def test_no_clock_makes_new_money_old(world: LedgerWorld) -> None:
    """A bill of the new year whose moment is from before the turn: its worker's clock, or its wait for the lock."""
    person = await world.person(1_000)
    await world.open_year(person, 2018, 300)
    key = await world.hold(person, line(1_500), accepted_at=NOW - HOUR, deadline_at=NOW)
    await world.answer(key, "declined")
    assert await world.sweep(person, 2018) == 0
    assert await balances(world, person) == (300, 0, 1_000)


async def test_no_clock_carries_old_money_over_twice(world: LedgerWorld) -> None:
    """A hold that ended before the turn, by a clock that was ahead: the turn itself carried the money over."""
    person = await world.person(1_000)
    key = await world.hold(person, line(1_500))
    assert await world.ledger.record_debit_answer(evidence(key, "declined"), NOW + HOUR) == "decline"
    paid = await world.hold(person, line(400), remainder="cash")
    await world.reverse(paid, requested_at=NOW + HOUR)
    assert (await world.open_year(person, 2018, 300)).rolled_fen == 1_000
    assert await world.sweep(person, 2018) == 0
    assert await balances(world, person) == (300, 0, 1_000)


async def test_what_bills_of_the_old_year_give_back_follows_and_of_the_new_year_stays(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    old = await world.hold(person, line(400), line(100, 2))
    await world.refund(old, (2, None))
    await world.open_year(person, 2018, 5_000)
    new = await world.hold(person, line(700))
    await world.refund(old, (1, 150))
    await world.reverse(new)
    assert await world.sweep(person, 2018) == 150
    await world.reverse(old)
    assert await world.sweep(person, 2018) == 250
    assert await balances(world, person) == (5_000, 0, 600 + 400)


async def test_what_was_spent_meanwhile_is_not_taken_from_a_later_credit(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    key = await world.hold(person, line(1_500))
    await world.open_year(person, 2018, 500)
    await world.answer(key, "declined")
    await world.hold(person, line(1_200))
    await world.credit(person, "current_year", 600)
    assert (await balances(world, person))[0] == 900
    assert await world.sweep(person, 2018) == 300
    assert await world.sweep(person, 2018) == 0
    assert (await balances(world, person))[0] == 600


@pytest.mark.parametrize("seed", range(20))
async def test_sweeps_take_all_that_is_old_and_nothing_that_is_new(world: LedgerWorld, seed: int) -> None:
    """Any order of bills, refunds, credits and sweeps: this year's bills are paid from this year's credit first."""
    chance = random.Random(seed)
    person = await world.person(4_000)
    pending = [await world.hold(person, line(chance.randint(1, 900))) for _ in range(2)]
    doubtful = await world.hold(person, line(9_000))
    old = pending
    first = chance.randint(0, 800)
    await world.open_year(person, 2018, first)
    freed = swept = late = spent = 0
    bills: list[tuple[object, int]] = []
    for _ in range(14):
        posted, held, _ = await balances(world, person)
        available = posted - held
        match chance.choice(["answer", "refund", "bill", "undo", "credit", "sweep", "sweep"]):
            case "answer" if doubtful:
                held_fen = (await world.accounts(person))["current_year_held_fen"]
                await world.answer(doubtful, "declined")
                freed, doubtful = freed + held_fen, None
            case "refund" if old:
                key = old.pop()
                freed += await world.pool.fetchval(
                    "select current_year_fen from settlement where settlement_id = $1", key.saga_id
                )
                await world.reverse(key)
            case "bill" if available:
                fen = chance.randint(1, available)
                bills.append((await world.hold(person, line(fen)), fen))
                spent += fen
            case "undo" if bills:
                key, fen = bills.pop(chance.randrange(len(bills)))
                await world.reverse(key)  # type: ignore[arg-type]
                spent -= fen
            case "credit" if chance.random() < 0.3:
                late += (fen := chance.randint(1, 500))
                await world.credit(person, "current_year", fen)
            case "sweep":
                rolled = await world.sweep(person, 2018)
                swept += rolled
                assert swept <= freed
                # What this year's credits are after this year's bills stays, and a later credit whatever was spent.
                assert available - rolled >= min(available, max(first + late - spent, late))
                if not late:
                    assert available - rolled == max(0, first - spent)


async def test_a_next_turn_takes_the_remainders_along(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    key = await world.hold(person, line(1_500))
    await world.open_year(person, 2018, 300)
    await world.answer(key, "declined")
    assert (await world.open_year(person, 2019, 70)).rolled_fen == 1_300
    assert await world.sweep(person, 2018) == await world.sweep(person, 2019) == 0
    assert await balances(world, person) == (70, 0, 1_300)


async def test_who_came_after_the_turn_has_no_old_money(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    open_bill = await world.hold(person, line(400, category="C"), line(300, 2))
    assert await world.open_year(person, 2018, 50, began_at=NOW - HOUR) == Opened("opened", 0, 50)
    await world.answer(open_bill, "declined")
    assert await world.sweep(person, 2018) == 0
    assert await balances(world, person) == (1_050, 0, 0)


async def test_bills_go_on_while_the_year_turns(world: LedgerWorld) -> None:
    """Every bill is split before the turn or after it, never half; what is in the accounts adds up to the fen."""
    persons = [await world.person(1_000) for _ in range(24)]

    async def pay(person: int) -> HoldVerdict:
        while True:
            verdict = await world.ledger.hold(await world.request(person, [line(1_500)], card_counter=None))
            if verdict.outcome not in ("stale", "again"):
                return verdict
            await asyncio.sleep(0)

    async def turn(batch: list[int]) -> list[Opened]:
        async with world.pool.acquire() as connection:
            items = [Opening(person, uuid.uuid4(), 200) for person in batch]
            return await YearBook(connection).open(
                2018, items, reason="test", began_at=NOW, posting_date=TODAY, now=NOW
            )

    # The same persons in two orders and at the same time: locks are taken in one order, and each is opened once.
    done = await asyncio.gather(
        *map(pay, persons[::2]), turn(persons), turn(persons[::-1]), *map(pay, persons[1::2]), *map(pay, persons[::3])
    )
    opened = [each for part in done if isinstance(part, list) for each in part]
    assert sorted(each.outcome for each in opened) == ["known"] * 24 + ["opened"] * 24
    verdicts = [each for each in done if isinstance(each, HoldVerdict)]
    assert {each.outcome for each in verdicts} == {"held"}
    for verdict in verdicts:
        await world.answer(verdict.key, "declined")
    for person in persons:
        await world.sweep(person, 2018)
        assert await balances(world, person) == (200, 0, 1_000)


async def test_persons_are_locked_in_one_order_whatever_the_file_says(world: LedgerWorld) -> None:
    """Else two batches, or a batch and the bills of two persons, would wait for each other."""
    low, high = await world.person(), await world.person()
    lock = "select from insurance_accounts where person_id = $1 for update nowait"

    async def turn() -> list[Opened]:
        async with world.pool.acquire() as connection:
            items = [Opening(person, uuid.uuid4(), 1) for person in (high, low)]
            return await YearBook(connection).open(2018, items, reason="x", began_at=NOW, posting_date=TODAY, now=NOW)

    async with world.pool.acquire() as other:
        async with other.transaction():
            await other.execute(lock, low)
            turning = asyncio.create_task(turn())
            while not await other.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.01)
            await other.execute(lock, high)
        assert [each.outcome for each in await turning] == ["opened", "opened"]
