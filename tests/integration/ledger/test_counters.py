"""Bills judged by a plan, in the ledger: funds, counters that move with holds and back, and refunds by difference."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.records import LineShare, SagaKey
from settlement.ledger.verify import verify_ledger
from tests.support.ledger_world import NOW, LedgerWorld, evidence, line
from tests.support.tampering import disarm

PAYERS = ("pooled_fund", "additional_fund", "current_year", "carried_over", "bank", "cash")


async def paid(world: LedgerWorld, key: SagaKey, table: str = "settlement") -> dict[str, int]:
    """The shares, those of zero left out, of a settlement or an undo."""
    column = "settlement_id" if table == "settlement" else "undo_id"
    row = await world.pool.fetchrow(f"select * from {table} where {column} = $1", key.saga_id)  # noqa: S608
    return {payer: row[f"{payer}_fen"] for payer in PAYERS if row[f"{payer}_fen"]}


async def given_back(world: LedgerWorld, key: SagaKey) -> dict[str, int]:
    """What all refunds of a bill gave to whom."""
    rows = await world.pool.fetch("select * from undo where settlement_id = $1", key.saga_id)
    return {payer: sum(row[f"{payer}_fen"] for row in rows) for payer in PAYERS}


async def posted(world: LedgerWorld, key: SagaKey) -> dict[str, int]:
    rows = await world.pool.fetch("select part, amount_fen from transfer where saga_id = $1", key.saga_id)
    return {row["part"]: row["amount_fen"] for row in rows}


async def test_counters_move_with_the_hold_and_funds_are_posted_with_the_capture(world: LedgerWorld) -> None:
    person = await world.person(current_year_fen=1_000, carried_over_fen=20_000)
    key = await world.hold_judged(person, line(201_000))
    # 1,000 from the current-year account; of the 200,000 covered, 150,000 deductible and 50,000 at 65 %.
    shares = {"additional_fund": 32_500, "current_year": 1_000, "carried_over": 20_000, "bank": 147_500}
    assert await paid(world, key) == shares
    assert await world.counters(person) == {"covered/outpatient": 200_000, "additional_fund": 32_500}
    assert await posted(world, key) == {}
    assert await world.answer(key, "approved") == "capture"
    assert await posted(world, key) == shares
    assert await world.counters(person) == {"covered/outpatient": 200_000, "additional_fund": 32_500}
    accounts = await world.pool.fetch("select debit_account from transfer where part = 'additional_fund'")
    assert [row["debit_account"] for row in accounts] == ["fund/additional"]


@pytest.mark.parametrize("end", ["declined", "deadline"])
async def test_counters_go_back_with_a_bill_that_is_not_paid(world: LedgerWorld, end: str) -> None:
    person = await world.person()
    first = await world.settle_judged(person, line(100_000))
    before = await world.counters(person)
    version = (await world.accounts(person))["version"]
    key = await world.hold_judged(person, line(100_000))
    assert (await world.counters(person))["covered/outpatient"] == 200_000
    if end == "declined":
        assert await world.answer(key, "declined") == "decline"
    else:
        assert await world.ledger.decide_backward(key, "deadline", NOW)
    assert await world.counters(person) == before == {"covered/outpatient": 100_000}
    assert (await world.accounts(person))["version"] > version + 1, "a split made meanwhile is outdated"
    assert await world.state(first) == "settled"


async def test_one_counting_bill_at_a_time_and_others_beside_it(world: LedgerWorld) -> None:
    person = await world.person(current_year_fen=500)
    key = await world.hold_judged(person, line(1_000))
    assert (await world.ledger.hold(await world.judged_request(person, [line(2_000)]))).outcome == "busy"
    beside = await world.judged_request(person, [line(300)], visit_type="pharmacy")
    assert beside.moved == []
    assert (await world.ledger.hold(beside)).outcome == "held"
    assert await world.answer(key, "approved") == "capture"
    assert (await world.ledger.hold(await world.judged_request(person, [line(2_000)]))).outcome == "held"


async def test_without_a_bank_part_nobody_waits(world: LedgerWorld) -> None:
    person = await world.person(carried_over_fen=5_000)
    for _ in range(2):
        await world.hold_judged(person, line(1_000))
    assert await world.counters(person) == {"covered/outpatient": 2_000}


async def test_a_split_made_from_outdated_counters_is_refused(world: LedgerWorld) -> None:
    person = await world.person()
    outdated = await world.judged_request(person, [line(150_000)], card_counter=1_000_000)
    await world.settle_judged(person, line(150_000))
    assert (await world.ledger.hold(outdated)).outcome == "stale"


async def test_cash_in_place_of_the_bank_keeps_funds_and_counters(world: LedgerWorld) -> None:
    person = await world.person()
    key = await world.hold_judged(person, line(151_000), on_bank_decline="cash")
    assert await world.answer(key, "declined") == "cash"
    assert await paid(world, key) == {"additional_fund": 650, "cash": 150_350}
    assert await world.counters(person) == {"covered/outpatient": 151_000, "additional_fund": 650}
    verdict = await world.refund_judged(key, (1, None))
    undo = SagaKey(person, key.acceptance_date, verdict.saga_id)
    assert await paid(world, undo, "undo") == {"additional_fund": 650, "cash": 150_350}
    assert await world.counters(person) == {}


async def test_a_reversal_gives_back_exactly_what_the_bill_moved_also_out_of_order(world: LedgerWorld) -> None:
    person = await world.person(carried_over_fen=300_000)
    keys = [await world.settle_judged(person, line(100_000)) for _ in range(3)]
    assert await world.counters(person) == {"covered/outpatient": 300_000, "additional_fund": 97_500}
    assert await paid(world, keys[1]) == {"additional_fund": 32_500, "carried_over": 67_500}
    await world.reverse(keys[0])
    assert await world.counters(person) == {"covered/outpatient": 200_000, "additional_fund": 97_500}
    await world.reverse(keys[2])
    await world.reverse(keys[1])
    assert await world.counters(person) == {}
    assert (await world.accounts(person))["carried_over_posted_fen"] == 300_000


async def test_a_refund_is_the_bill_less_what_the_kept_lines_cost_under_the_same_plan(world: LedgerWorld) -> None:
    person = await world.person()
    key = await world.settle_judged(person, line(150_000, 1), line(10_000, 2), line(7_000, 3, "C"))
    assert await paid(world, key) == {"additional_fund": 6_500, "bank": 160_500}
    await world.settle_judged(person, line(1_000))  # counters go on; the refund is judged by the snapshot of its bill
    verdict = await world.refund_judged(key, (1, 150_000))
    undo = SagaKey(person, key.acceptance_date, verdict.saga_id)
    # What is kept, 100.00, lies in the deductible now: the fund gets its 65.00 back, the bank account the rest.
    assert await paid(world, undo, "undo") == {"additional_fund": 6_500, "bank": 143_500}
    assert await world.counters(person) == {"covered/outpatient": 11_000, "additional_fund": 650}
    rows = await world.pool.fetch("select line_no, payer, amount_fen from undo_line order by 1, 2")
    assert [tuple(row) for row in rows] == [(1, "bank", 150_000), (2, "additional_fund", 6_500), (2, "bank", -6_500)]
    status = await world.ledger.undo_status(undo)
    assert status is not None
    assert status["own_expense_fen"] == 0
    facts = await world.ledger.receipt_facts(undo)
    if facts is not None:
        assert [each["line_no"] for each in facts["lines"]] == [1]
    # And the reversal of what is left.
    await world.reverse(key)
    assert await world.counters(person) == {"covered/outpatient": 1_000, "additional_fund": 650}
    left = await world.pool.fetchrow("select * from undo where kind = 'reversal'")
    assert (left["bank_fen"], left["own_expense_fen"]) == (17_000, 7_000)


async def test_refunds_in_pieces_come_to_the_same_as_at_once(world: LedgerWorld) -> None:
    async def settled() -> tuple[int, SagaKey]:
        person = await world.person(current_year_fen=777, carried_over_fen=1_333)
        return person, await world.settle_judged(person, line(149_999, 1), line(3_333, 2, "B"), line(5_001, 3))

    person, at_once = await settled()
    await world.refund_judged(at_once, (1, 100_000), (3, None))
    other, in_pieces = await settled()
    for step in ((3, 1), (1, 33_333), (3, None), (1, 66_667)):
        assert (await world.refund_judged(in_pieces, step)).outcome == "opened"
    assert await world.counters(person) == await world.counters(other)
    assert await given_back(world, at_once) == await given_back(world, in_pieces)


async def test_shares_made_before_another_refund_are_not_taken(world: LedgerWorld) -> None:
    key = await world.settle_judged(await world.person(), line(1_000, 1), line(2_000, 2))
    assert (await world.refund_judged(key, (1, None))).outcome == "opened"
    assert (await world.refund_judged(key, (2, None), returned_before_fen=0)).outcome == "again"
    assert (await world.refund_judged(key, (2, 2_001))).outcome == "exceeds_line"
    assert (await world.refund_judged(key, (9, None))).left_fen == -1
    with pytest.raises(asyncpg.RestrictViolationError, match="do not sum to its refund"):
        await world.refund_judged(key, (2, None), shares=[LineShare(line_no=2, payer="bank", amount_fen=1_999)])
    assert (await world.refund_judged(key, (2, None))).outcome == "opened"


async def test_crossing_bills_of_one_person_count_as_if_in_some_order(world: LedgerWorld) -> None:
    """100 bills at once: each is judged again until it is held, and the counters come to one serial order's."""
    person = await world.person(carried_over_fen=10_000_000)
    keys: list[SagaKey] = []

    async def settle(fen: int) -> None:
        number = 0
        while True:
            number += 1
            request = await world.judged_request(person, [line(fen)], card_counter=None)
            verdict = await world.ledger.hold(request)
            if verdict.outcome == "held":
                keys.append(verdict.key)
                return
            assert verdict.outcome in {"stale", "again"}
            await asyncio.sleep(random.random() / 50)

    amounts = [2_000 + 37 * number for number in range(100)]
    await asyncio.gather(*(settle(fen) for fen in amounts))
    counters = await world.counters(person)
    assert counters["covered/outpatient"] == sum(amounts)
    # The serial order that they were held in gives the same.
    again = await world.person(carried_over_fen=10_000_000)
    rows = await world.pool.fetch("select bill_fen, additional_fund_fen from settlement order by account_version")
    for row in rows:
        twin = await world.hold_judged(again, line(row["bill_fen"]), card_counter=None)
        assert (await paid(world, twin)).get("additional_fund", 0) == row["additional_fund_fen"]
    assert await world.counters(again) == counters


async def test_the_database_refuses_what_must_not_be(world: LedgerWorld) -> None:
    person = await world.person()
    await world.settle_judged(person, line(1_000))
    refused = (asyncpg.RestrictViolationError, asyncpg.CheckViolationError)
    for statement in (
        "update accumulator set fen = -1",
        "delete from accumulator",
        "truncate accumulator cascade",
        "update accumulator_move set fen = 5",
        "delete from accumulator_move",
        "update settlement set pooled_fund_fen = 1, bank_fen = bank_fen - 1",
    ):
        with pytest.raises(refused):
            await world.pool.execute(statement)
    open_bill = await world.hold_judged(person, line(1_000))
    with pytest.raises(refused, match="still counts"):
        await world.pool.execute("update insurance_accounts set counting_settlement = gen_random_uuid()")
    await world.answer(open_bill, "declined")
    with pytest.raises(refused):
        await world.hold_judged(person, line(1_000, 1, "C"), bank_fen=0, additional_fund_fen=1_000)


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("update accumulator set fen = fen + 1 where counter = 'additional_fund'", "accumulators"),
        ("update insurance_accounts set counting_settlement = gen_random_uuid()", "one_counting"),
        (
            "update settlement_bill set policy = jsonb_set(policy, '{0,moved,0,fen}', '7')",
            "counters_follow_bills",
        ),
        ("delete from accumulator_move where counter = 'additional_fund'", "counters_follow_bills"),
    ],
)
async def test_altered_rows_are_found(make_database: Callable[[], Awaitable[str]], statement: str, check: str) -> None:
    pool = await create_pool(Settings(database_url=await make_database()))
    world = LedgerWorld(pool)
    await world.prepare()
    await world.settle_judged(await world.person(), line(160_000))
    assert (await verify_ledger(pool)).violations == []
    await disarm(pool)
    assert (await pool.execute(statement)).endswith(" 1")
    assert check in {violation.invariant for violation in (await verify_ledger(pool)).violations}
    await pool.close()


_amounts = st.lists(st.tuples(st.integers(1, 120_000), st.sampled_from("ABC")), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bills=st.lists(_amounts, min_size=2, max_size=5),
    balances=st.tuples(st.integers(0, 90_000), st.integers(0, 90_000)),
    chance=st.randoms(use_true_random=False),
)
async def test_undoing_all_bills_in_any_order_brings_everything_back(
    world: LedgerWorld, bills: list[list[tuple[int, str]]], balances: tuple[int, int], chance: random.Random
) -> None:
    person = await world.person(*balances)
    keys = []
    for amounts in bills:
        lines = [line(fen, number, category) for number, (fen, category) in enumerate(amounts, start=1)]
        keys.append(await world.settle_judged(person, *lines))
    steps = [(key, number) for key, amounts in zip(keys, bills, strict=True) for number in range(1, len(amounts) + 1)]
    chance.shuffle(steps)
    taken_back: set[SagaKey] = set()
    for key, number in steps:
        if key in taken_back:
            continue
        if chance.random() < 0.3:
            assert (await world.reverse(key))[0] == "opened"
            taken_back.add(key)
        else:
            assert (await world.refund_judged(key, (number, None))).outcome == "opened"
    for leg in await world.pool.fetch("select * from leg where leg = 'bank_return' and person_id = $1", person):
        place = SagaKey(person, leg["acceptance_date"], leg["saga_id"])
        await world.ledger.record_return_answer(evidence(place, "approved"), NOW)
    accounts = await world.accounts(person)
    assert (accounts["current_year_posted_fen"], accounts["carried_over_posted_fen"]) == balances
    assert (accounts["current_year_held_fen"], accounts["carried_over_held_fen"]) == (0, 0)
    assert await world.counters(person) == {}
    rows = "select bill_fen - returned_fen as left_fen from settlement where person_id = $1"
    returned = await world.pool.fetch(rows, person)
    assert {row["left_fen"] for row in returned} == {0}
