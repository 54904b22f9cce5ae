"""The SQL functions of the saga, each move once, with the books verified after every test."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import uuid

import asyncpg
import msgspec
import pytest

from settlement.ledger.records import SagaKey
from tests.support.ledger_world import INSTITUTION, NOW, LedgerWorld, evidence, line


async def test_account_pays_all_posts_in_the_hold_itself(world: LedgerWorld) -> None:
    person = await world.person(1_000, 500)
    key = await world.hold(person, line(1_200))
    assert await world.state(key) == "settled"
    accounts = await world.accounts(person)
    assert (accounts["current_year_posted_fen"], accounts["carried_over_posted_fen"]) == (0, 300)
    assert accounts["current_year_held_fen"] == accounts["carried_over_held_fen"] == 0
    assert await world.leg(key) is None


async def test_bank_part_is_held_then_captured(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    key = await world.hold(person, line(1_500))
    assert await world.state(key) == "pending"
    held = await world.accounts(person)
    assert (held["current_year_posted_fen"], held["current_year_held_fen"]) == (1_000, 1_000)
    assert await world.answer(key, "approved", response_code="00", authorisation="A1") == "capture"
    assert await world.state(key) == "settled"
    after = await world.accounts(person)
    assert (after["current_year_posted_fen"], after["current_year_held_fen"]) == (0, 0)


async def test_an_approval_told_twice_posts_once(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(100), line(300))
    assert await world.answer(key, "approved") == "capture"
    assert await world.answer(key, "approved") == "none"
    posted = await world.pool.fetchval("select sum(amount_fen) from transfer where saga_id = $1", key.saga_id)
    assert posted == 300


async def test_decline_releases_all(world: LedgerWorld) -> None:
    person = await world.person(100)
    key = await world.hold(person, line(300))
    assert await world.answer(key, "declined") == "decline"
    assert await world.state(key) == "declined"
    accounts = await world.accounts(person)
    assert (accounts["current_year_posted_fen"], accounts["current_year_held_fen"]) == (100, 0)


async def test_decline_with_cash_keeps_the_insurance_part(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(100), line(300), on_bank_decline="cash")
    assert await world.answer(key, "declined") == "cash"
    row = await world.ledger.settlement_status(key)
    assert row is not None
    assert (row["state"], row["current_year_fen"], row["bank_fen"], row["cash_fen"]) == ("settled", 100, 0, 200)


async def test_an_approval_after_backward_is_noted_and_never_captured(world: LedgerWorld) -> None:
    person = await world.person(100)
    key = await world.hold(person, line(300))
    assert await world.answer(key, "unknown") == "doubt"
    assert await world.ledger.decide_backward(key, "deadline", NOW)
    assert await world.state(key) == "reversing"
    assert (await world.accounts(person))["current_year_held_fen"] == 0
    assert await world.answer(key, "approved") == "late"
    assert await world.state(key) == "reversing"
    assert await world.pool.fetchval("select count(*) from transfer where saga_id = $1", key.saga_id) == 0
    await world.ledger.record_undoing_answer(evidence(key, "undone"), NOW)
    assert await world.state(key) == "reversed"


async def test_backward_is_decided_once(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(100), line(300))
    assert await world.ledger.decide_backward(key, "deadline", NOW)
    assert not await world.ledger.decide_backward(key, "deadline", NOW)
    captured = await world.hold(await world.person(100), line(300))
    await world.answer(captured, "approved")
    assert not await world.ledger.decide_backward(captured, "deadline", NOW)
    assert await world.state(captured) == "settled"


async def test_a_decline_that_comes_after_backward_closes_the_leg(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(0), line(300))
    await world.ledger.decide_backward(key, "deadline", NOW)
    assert await world.answer(key, "declined") == "undone"
    assert await world.state(key) == "reversed"


async def test_a_bare_approval_is_captured_later_and_not_turned_back(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(100), line(300))
    await world.ledger.note_approval(evidence(key, "approved", authorisation="A7"), NOW)
    assert (await world.leg(key))["state"] == "approved"
    assert not await world.ledger.decide_backward(key, "deadline", NOW)
    assert (await world.reverse(key))[0] == "capture_first"
    assert await world.answer(key, "approved") == "capture"
    assert await world.state(key) == "settled"


async def test_an_outdated_worker_schedules_nothing(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(0), line(300))
    later = NOW + dt.timedelta(minutes=1)
    (claimed,) = await world.ledger.claim_due_legs(later, "other", later + dt.timedelta(seconds=20), 10)
    assert (claimed.key, claimed.fence) == (key, 2)
    assert await world.answer(key, "unknown", fence=1) == "none"
    assert await world.answer(key, "unknown", fence=2) == "doubt"


async def test_a_claimed_leg_is_not_claimed_again_before_its_lease_ends(world: LedgerWorld) -> None:
    await world.hold(await world.person(0), line(300))
    later = NOW + dt.timedelta(minutes=1)
    until = later + dt.timedelta(seconds=20)
    assert len(await world.ledger.claim_due_legs(later, "one", until, 10)) == 1
    assert await world.ledger.claim_due_legs(later, "two", until, 10) == []
    assert len(await world.ledger.claim_due_legs(until, "two", until + dt.timedelta(seconds=20), 10)) == 1


async def test_final_legs_are_never_due(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(0), line(300))
    await world.answer(key, "approved")
    far = NOW + dt.timedelta(days=30)
    assert await world.ledger.claim_due_legs(far, "one", far, 10) == []


async def test_reversal_gives_back_to_where_it_came_from(world: LedgerWorld) -> None:
    person = await world.person(100, 50)
    key = await world.hold(person, line(400))
    await world.answer(key, "approved")
    outcome, undo_id = await world.reverse(key)
    assert outcome == "opened"
    assert await world.state(key) == "reversing"
    accounts = await world.accounts(person)
    assert (accounts["current_year_posted_fen"], accounts["carried_over_posted_fen"]) == (100, 50)
    undo = SagaKey(key.person_id, key.acceptance_date, undo_id)
    await world.ledger.record_return_answer(evidence(undo, "approved"), NOW)
    assert await world.state(key) == "reversed"


async def test_reversal_repeated_under_other_keys_is_one_reversal(world: LedgerWorld) -> None:
    person = await world.person(500)
    key = await world.hold(person, line(400))
    answers = await asyncio.gather(*(world.reverse(key) for _ in range(20)))
    assert len({undo_id for _, undo_id in answers}) == 1
    assert (await world.accounts(person))["current_year_posted_fen"] == 500


async def test_reversal_of_an_open_settlement_turns_it_back(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(100), line(300))
    outcome, saga_id = await world.reverse(key)
    assert (outcome, saga_id) == ("turned", key.saga_id)
    assert await world.state(key) == "reversing"
    assert (await world.reverse(key))[1] == key.saga_id


async def test_a_void_that_is_too_late_becomes_a_refund_with_its_own_identity(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(0), line(300))
    await world.answer(key, "approved")
    _, undo_id = await world.reverse(key)
    undo = SagaKey(key.person_id, key.acceptance_date, undo_id)
    before = await world.leg(undo, "bank_return")
    await world.ledger.record_return_answer(evidence(undo, "too_late", next_attempt_at=NOW), NOW)
    after = await world.leg(undo, "bank_return")
    assert (before["verb"], after["verb"], after["state"]) == ("void", "refund", "intended")
    assert before["reference"] != after["reference"]
    (claimed,) = await world.ledger.claim_due_legs(NOW, "one", NOW + dt.timedelta(seconds=20), 10)
    assert claimed.original_reference == (await world.leg(key))["reference"]
    await world.ledger.record_return_answer(evidence(undo, "approved", fence=claimed.fence), NOW)
    assert await world.state(key) == "reversed"


async def test_a_refused_return_is_kept_and_tried_again(world: LedgerWorld) -> None:
    key = await world.hold(await world.person(0), line(300))
    await world.answer(key, "approved")
    _, undo_id = await world.reverse(key)
    undo = SagaKey(key.person_id, key.acceptance_date, undo_id)
    await world.ledger.record_return_answer(evidence(undo, "refused"), NOW)
    later = NOW + dt.timedelta(minutes=1)
    (claimed,) = await world.ledger.claim_due_legs(later, "one", later, 10)
    assert claimed.state == "refused"
    assert await world.state(key) == "reversing"


async def test_fifty_calls_with_one_key_make_one_settlement(world: LedgerWorld) -> None:
    person = await world.person(10_000)
    request = await world.request(person, [line(100)])
    same = [msgspec.structs.replace(request, settlement_id=uuid.uuid4()) for _ in range(50)]
    verdicts = await asyncio.gather(*(world.ledger.hold(each) for each in same))
    assert [verdict.outcome for verdict in verdicts].count("held") == 1
    assert {verdict.outcome for verdict in verdicts} <= {"held", "again", "known"}
    assert (await world.ledger.hold(same[7])).outcome == "known"
    assert await world.pool.fetchval("select count(*) from settlement") == 1
    assert (await world.accounts(person))["current_year_posted_fen"] == 9_900


async def test_another_body_under_the_same_key_is_refused(world: LedgerWorld) -> None:
    request = await world.request(await world.person(1_000), [line(100)])
    assert (await world.ledger.hold(request)).outcome == "held"
    other = await world.request(await world.person(1_000), [line(200)], idempotency_key=request.idempotency_key)
    verdict = await world.ledger.hold(msgspec.structs.replace(other, body_digest="\\x" + "22" * 32))
    assert verdict.outcome == "key_reused"
    assert await world.pool.fetchval("select count(*) from settlement") == 1


async def test_a_line_of_a_visit_is_settled_once_until_it_is_taken_back(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    first = await world.hold(person, line(100, 1), line(50, 2), visit_no="VISIT")
    again = await world.ledger.hold(await world.request(person, [line(50, 2), line(10, 3)], visit_no="VISIT"))
    assert (again.outcome, again.key.saga_id) == ("already_settled", first.saga_id)
    await world.reverse(first)
    await world.hold(person, line(50, 2), line(10, 3), visit_no="VISIT")


async def test_a_counter_that_did_not_rise_and_a_card_no_longer_valid_are_refused(world: LedgerWorld) -> None:
    person = await world.person(1_000)
    request = await world.request(person, [line(100)])
    await world.ledger.hold(request)
    replay = await world.request(person, [line(100)], card_counter=request.card_counter)
    assert (await world.ledger.hold(replay)).outcome == "counter_replayed"
    await world.pool.execute("update card set life = 'void' where person_id = $1", person)
    assert (await world.ledger.hold(await world.request(person, [line(100)]))).outcome == "card_changed"


async def test_an_outdated_split_is_never_applied(world: LedgerWorld) -> None:
    person = await world.person(100)
    outdated = await world.request(person, [line(80)], card_counter=1_000_000)
    await world.hold(person, line(50))
    verdict = await world.ledger.hold(outdated)
    assert verdict.outcome == "stale"


async def test_a_buried_key_refuses_the_original_that_comes_later(world: LedgerWorld) -> None:
    request = await world.request(await world.person(1_000), [line(100)])
    bury = {
        "institution_id": INSTITUTION,
        "original_key": request.idempotency_key,
        "body_digest": secrets.token_bytes(32),
        "undo_id": uuid.uuid4(),
        "now": NOW,
        "expires_at": NOW + dt.timedelta(days=400),
    }
    first = await world.ledger.bury_key(own_key="own-key-1", **bury)
    assert first == ("buried", bury["undo_id"])
    assert await world.ledger.bury_key(own_key="own-key-1", **(bury | {"undo_id": uuid.uuid4()})) == first
    assert (await world.ledger.hold(request)).outcome == "tombstoned"
    assert await world.pool.fetchval("select count(*) from settlement") == 0


async def test_a_key_that_has_arrived_is_not_buried(world: LedgerWorld) -> None:
    request = await world.request(await world.person(1_000), [line(100)])
    held = await world.ledger.hold(request)
    buried = await world.ledger.bury_key(
        institution_id=INSTITUTION,
        original_key=request.idempotency_key,
        own_key="own-key-2",
        body_digest=secrets.token_bytes(32),
        undo_id=uuid.uuid4(),
        now=NOW,
        expires_at=NOW + dt.timedelta(days=400),
    )
    assert buried == ("arrived", held.key.saga_id)


async def test_a_credit_is_booked_once(world: LedgerWorld) -> None:
    person, credit_id = await world.person(), uuid.uuid4()
    assert await world.credit(person, "carried_over", 700, credit_id)
    assert not await world.credit(person, "carried_over", 700, credit_id)
    assert (await world.accounts(person))["carried_over_posted_fen"] == 700


@pytest.mark.parametrize(
    "statement",
    [
        "update transfer set amount_fen = amount_fen + 1",
        "delete from transfer",
        "truncate transfer_{month}",
        "truncate account_credit",
        "truncate insurance_accounts cascade",
        "delete from insurance_accounts",
        "update hold_end set outcome = 'voided'",
        "update receipt set issued_at = now()",
        "update leg_move set cause = 'x'",
        "delete from leg",
        "delete from settlement",
        "update settlement set current_year_fen = current_year_fen - 1, cash_fen = cash_fen + 1",
        "update settlement set decision = 'backward', posting_date = null",
        "update settlement set decision = 'open', decided_at = null, posting_date = null",
        "update settlement set returned_fen = bill_fen + 1",
        "update leg set state = 'undoing', next_attempt_at = now() where leg = 'bank'",
        "update leg set state = 'released' where leg = 'insurance'",
        "update leg set amount_fen = amount_fen + 1",
        "update insurance_accounts set current_year_posted_fen = -1",
        "update insurance_accounts set current_year_held_fen = current_year_posted_fen + 1",
    ],
)
async def test_the_database_refuses_what_must_never_happen(world: LedgerWorld, statement: str) -> None:
    key = await world.hold(await world.person(100), line(300))
    await world.answer(key, "approved")
    with pytest.raises((asyncpg.RestrictViolationError, asyncpg.CheckViolationError)):
        await world.pool.execute(statement.format(month=f"{NOW:%Y%m}"))


async def test_consent_leaves_insurance_out_only_while_it_is_frozen(world: LedgerWorld) -> None:
    person = await world.person(500)
    agreed = await world.request(person, [line(300, 1, "C")], consent="without_insurance", card_counter=1_000_001)
    assert (await world.ledger.hold(agreed)).outcome == "card_changed"  # insurance can pay: it is asked first
    await world.pool.execute("update card set social = 'frozen' where person_id = $1", person)
    without = await world.request(person, [line(300, 1, "C")], card_counter=1_000_002)
    assert (await world.ledger.hold(without)).outcome == "card_changed"
    agreed = msgspec.structs.replace(agreed, card_counter=1_000_003)
    assert (await world.ledger.hold(agreed)).outcome == "held"


async def test_the_database_refuses_insurance_money_under_a_consent_to_do_without(world: LedgerWorld) -> None:
    person = await world.person(500)
    await world.pool.execute("update card set social = 'frozen' where person_id = $1", person)
    mixed = await world.request(person, [line(300)], consent="without_insurance")
    with pytest.raises(asyncpg.CheckViolationError):
        await world.ledger.hold(mixed)
