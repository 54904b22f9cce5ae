"""Refunds in the ledger: by line and recorded split, up to the bill, beside reversals; books verified after each."""

from __future__ import annotations

import datetime as dt

import asyncpg
import pytest

from settlement.ledger.records import SagaKey
from tests.support.ledger_world import NOW, LedgerWorld, evidence, line


async def _undo(world: LedgerWorld, key: SagaKey, undo_id: object) -> tuple[int, int, int, int]:
    """What an undo gives back: current-year account, carried-over account, bank, cash."""
    row = await world.pool.fetchrow("select * from undo where undo_id = $1", undo_id)
    return row["current_year_fen"], row["carried_over_fen"], row["bank_fen"], row["cash_fen"]


async def _settled(world: LedgerWorld, person: int, *lines: object, **changes: object) -> SagaKey:
    key = await world.hold(person, *lines, **changes)  # type: ignore[arg-type]
    if await world.leg(key) is not None:
        assert await world.answer(key, "approved", settlement_date=NOW.date()) == "capture"
    return key


async def test_a_whole_line_goes_back_to_those_who_paid_it(world: LedgerWorld) -> None:
    person = await world.person(250, 100)
    key = await _settled(world, person, line(200, 1), line(300, 2), line(40, 3, "C"))
    verdict = await world.refund(key, (2, None))
    assert verdict.outcome == "opened"
    assert await _undo(world, key, verdict.saga_id) == (50, 100, 150, 0)
    accounts = await world.accounts(person)
    assert (accounts["current_year_posted_fen"], accounts["carried_over_posted_fen"]) == (50, 100)
    back = await world.leg(SagaKey(person, key.acceptance_date, verdict.saga_id), "bank_return")
    assert (back["state"], back["verb"], back["amount_fen"]) == ("intended", "refund", 150)
    assert await world.state(key) == "settled"


async def test_of_a_part_of_a_line_the_patients_own_money_goes_back_first(world: LedgerWorld) -> None:
    person = await world.person(100, 100)
    key = await _settled(world, person, line(300))
    given = [await _undo(world, key, (await world.refund(key, (1, fen))).saga_id) for fen in (60, 100, 90, 50)]
    assert given == [(0, 0, 60, 0), (0, 60, 40, 0), (50, 40, 0, 0), (50, 0, 0, 0)]
    assert (await world.refund(key, (1, 1))).outcome == "exceeds_line"


async def test_what_stays_paid_is_what_the_smaller_bill_would_have_cost(world: LedgerWorld) -> None:
    for less in (1, 59, 100, 101, 150, 199):
        refunded = await world.person(100, 50)
        key = await _settled(world, refunded, line(200))
        given = await _undo(world, key, (await world.refund(key, (1, less))).saga_id)
        smaller = await world.request(await world.person(100, 50), [line(200 - less)])
        paid = (100 - given[0], 50 - given[1], 50 - given[2])
        assert paid == (smaller.current_year_fen, smaller.carried_over_fen, smaller.bank_fen), less


async def test_refunds_never_exceed_a_line_and_a_refusal_leaves_no_trace(world: LedgerWorld) -> None:
    key = await _settled(world, await world.person(1_000), line(200, 1), line(300, 2))
    order = {"idempotency_key": "refund-again-1"}
    verdict = await world.refund(key, (1, 200), (2, 301), **order)
    assert (verdict.outcome, verdict.line_no, verdict.left_fen) == ("exceeds_line", 2, 300)
    verdict = await world.refund(key, (7, None), **order)
    assert (verdict.outcome, verdict.line_no, verdict.left_fen) == ("exceeds_line", 7, -1)
    assert (await world.refund(key, (1, 200), (2, 300), **order)).outcome == "opened"
    verdict = await world.refund(key, (1, None))
    assert (verdict.outcome, verdict.left_fen) == ("exceeds_line", 0)
    row = await world.ledger.settlement_status(key)
    assert row is not None
    assert (row["returned_fen"], len(row["refund_ids"]), row["state"]) == (500, 1, "settled")


async def test_the_same_key_gives_the_first_refund_and_another_body_is_refused(world: LedgerWorld) -> None:
    key = await _settled(world, await world.person(1_000), line(200))
    first = await world.refund(key, (1, 50), idempotency_key="refund-same-1")
    again = await world.refund(key, (1, 50), idempotency_key="refund-same-1")
    assert (again.outcome, again.saga_id) == ("known", first.saga_id)
    other = await world.refund(key, (1, 60), idempotency_key="refund-same-1", body_digest="\\x" + "33" * 32)
    assert other.outcome == "key_reused"
    assert (await world.reverse(key, idempotency_key="refund-same-1"))[0] == "key_reused"
    assert await world.pool.fetchval("select returned_fen from settlement where settlement_id = $1", key.saga_id) == 50


async def test_a_reversal_takes_back_what_refunds_have_left(world: LedgerWorld) -> None:
    person = await world.person(100)
    key = await _settled(world, person, line(100, 1), line(300, 2))
    await world.refund(key, (2, 120))
    outcome, undo_id = await world.reverse(key)
    assert outcome == "opened"
    assert await _undo(world, key, undo_id) == (100, 0, 180, 0)
    back = await world.leg(SagaKey(person, key.acceptance_date, undo_id), "bank_return")
    assert back["verb"] == "refund"  # a part of a debit cannot be voided
    assert (await world.accounts(person))["current_year_posted_fen"] == 100
    assert (await world.refund(key, (1, 1))).outcome == "taken_back"
    # The line may be billed again only now.
    await world.hold(person, line(100, 1), visit_no=await _visit(world, key))


async def _visit(world: LedgerWorld, key: SagaKey) -> str:
    visit: str = await world.pool.fetchval("select visit_no from settlement where settlement_id = $1", key.saga_id)
    return visit


async def test_a_reversal_after_all_was_refunded_has_nothing_left_and_is_not_refused(world: LedgerWorld) -> None:
    person = await world.person(500)
    key = await _settled(world, person, line(500))
    await world.refund(key, (1, None))
    outcome, undo_id = await world.reverse(key)
    assert outcome == "opened"
    assert await _undo(world, key, undo_id) == (0, 0, 0, 0)
    assert await world.state(key) == "reversed"
    assert (await world.accounts(person))["current_year_posted_fen"] == 500


async def test_a_refund_that_leaves_the_debit_whole_lets_the_rest_be_voided(world: LedgerWorld) -> None:
    person = await world.person(100)
    key = await _settled(world, person, line(100, 1), line(300, 2))
    await world.refund(key, (1, None))
    _, undo_id = await world.reverse(key)
    assert (await world.leg(SagaKey(person, key.acceptance_date, undo_id), "bank_return"))["verb"] == "void"


async def test_only_a_settled_bill_can_be_refunded(world: LedgerWorld) -> None:
    person = await world.person(0)
    pending = await world.hold(person, line(300))
    assert (await world.refund(pending, (1, None))).outcome == "not_settled_yet"
    await world.ledger.note_approval(evidence(pending, "approved"), NOW)
    assert (await world.refund(pending, (1, None))).outcome == "not_settled_yet"
    declined = await world.hold(person, line(300))
    await world.answer(declined, "declined")
    assert (await world.refund(declined, (1, None))).outcome == "taken_back"
    turned = await world.hold(person, line(300))
    await world.ledger.decide_backward(turned, "deadline", NOW)
    assert (await world.refund(turned, (1, None))).outcome == "taken_back"


async def test_where_cash_took_the_banks_place_cash_goes_back(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(100), line(300), on_bank_decline="cash")
    assert await world.answer(key, "declined") == "cash"
    verdict = await world.refund(key, (1, 250))
    assert await _undo(world, key, verdict.saga_id) == (50, 0, 0, 200)
    status = await world.ledger.undo_status(SagaKey(key.person_id, key.acceptance_date, verdict.saga_id))
    assert status is not None
    assert status["issued_at"] is not None  # no bank to be told: complete at once


async def test_the_banks_answer_completes_a_refund_once(world: LedgerWorld) -> None:
    person = await world.person(0)
    key = await _settled(world, person, line(300))
    verdict = await world.refund(key, (1, 100))
    place = SagaKey(person, key.acceptance_date, verdict.saga_id)
    await world.ledger.record_return_answer(evidence(place, "unknown"), NOW)
    assert (await world.leg(place, "bank_return"))["state"] == "unknown"
    for _ in range(2):
        await world.ledger.record_return_answer(evidence(place, "approved"), NOW)
    posted = await world.pool.fetch("select part, amount_fen from transfer where saga_id = $1", place.saga_id)
    assert [tuple(row) for row in posted] == [("bank", 100)]
    assert await world.pool.fetchval("select kind from receipt where saga_id = $1", place.saga_id) == "refund"


async def test_a_refund_is_claimed_by_recovery_when_its_worker_dies(world: LedgerWorld) -> None:
    person = await world.person(0)
    key = await _settled(world, person, line(300))
    verdict = await world.refund(key, (1, 100))
    later = NOW + dt.timedelta(minutes=1)
    (claimed,) = await world.ledger.claim_due_legs(later, "other", later + dt.timedelta(seconds=20), 10)
    assert (claimed.key.saga_id, claimed.leg, claimed.verb) == (verdict.saga_id, "bank_return", "refund")
    assert claimed.original_reference == (await world.leg(key))["reference"]


@pytest.mark.parametrize(
    "statement",
    [
        "update undo_line set amount_fen = amount_fen - 1",
        "delete from undo_line",
        "insert into undo_line {same}, 9, payer, settlement_id, 1 from undo_line",
        "insert into undo_line {same}, line_no, 'carried_over', settlement_id, 1 from undo_line",
        "insert into undo_line {same}, line_no, 'cash', settlement_id, 1 from undo_line",
    ],
)
async def test_the_database_refuses_to_give_back_more_than_was_paid(world: LedgerWorld, statement: str) -> None:
    key = await _settled(world, await world.person(100), line(150))
    assert (await world.refund(key, (1, 40))).outcome == "opened"
    with pytest.raises(asyncpg.RestrictViolationError):
        await world.pool.execute(statement.format(same="select person_id, acceptance_date, undo_id"))


async def test_the_database_refuses_a_second_return_of_the_same_money(world: LedgerWorld) -> None:
    key = await _settled(world, await world.person(100), line(150))
    await world.refund(key, (1, 40))
    second = await world.refund(key, (1, 5))
    with pytest.raises(asyncpg.RestrictViolationError):
        await world.pool.execute(
            """insert into undo_line select person_id, acceptance_date, $1, line_no, 'current_year', settlement_id, 101
               from undo_line limit 1""",
            second.saga_id,
        )
