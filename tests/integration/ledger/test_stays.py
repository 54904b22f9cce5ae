"""Stays in the ledger alone: what a settlement was made from must still be so when it is held, deposits included."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.records import SagaKey, StayPartOf
from settlement.ledger.stays import Admission, StayBook, StayCall
from settlement.ledger.verify import verify_ledger
from terminal_sdk.wire import StayBill, StayLine
from tests.support.ledger_world import INSTITUTION, NOW, TODAY, LedgerWorld, line
from tests.support.tampering import disarm


class Bedside:
    """A stay of one person, by the ledger's own calls."""

    def __init__(self, world: LedgerWorld, person: int) -> None:
        self.world, self.person, self.book = world, person, StayBook(world.pool)
        self.stay_id = uuid.uuid4()
        self.stay_no = f"ZY{secrets.token_hex(4)}"

    def call(self) -> StayCall:
        return StayCall(
            person_id=self.person,
            stay_id=self.stay_id,
            institution_id=INSTITUTION,
            idempotency_key=f"key-{secrets.token_hex(6)}",
            body_digest=bytes(32),
            today=TODAY,
            now=NOW,
            key_expires_at=NOW + dt.timedelta(days=400),
        )

    async def admit(self) -> None:
        facts: dict[str, Any] = {"terminal_id": "T0000001", "stay_no": self.stay_no, "visit_type": "inpatient"}
        verdict = await self.book.admit(self.call(), card_id=self.person, admitted_on=TODAY, **facts)
        assert verdict.outcome == "admitted"

    async def upload(self, number: int, fen: int) -> None:
        fee = msgspec.convert(msgspec.to_builtins(line(fen, number)) | {"service_date": TODAY.isoformat()}, StayLine)
        assert (await self.book.upload(self.call(), [fee])).outcome == "uploaded"

    async def found(self) -> Admission:
        stay = await self.book.find(INSTITUTION, self.stay_id)
        assert stay is not None
        return stay

    async def hold(self, fen: int, part: StayBill, number: int = 1, **changes: Any) -> tuple[str, SagaKey]:
        """Hold a bill of one line that the bank pays, made from the stay as it is, unless ``changes`` say otherwise."""
        version = changes.pop("version", (await self.found()).version)
        stay = StayPartOf(stay_id=self.stay_id, part=part, version=version)
        visit_type = "deposit" if part == "deposit" else "inpatient"
        facts = {"visit_no": self.stay_no, "visit_type": visit_type, "stay": stay}
        request = await self.world.request(self.person, [line(fen, number, "C")], **(facts | changes))
        verdict = await self.world.ledger.hold(request)
        return verdict.outcome, verdict.key

    async def deposit(self, fen: int, number: int = 99_001) -> SagaKey:
        outcome, key = await self.hold(fen, "deposit", number)
        assert outcome == "held"
        assert await self.world.answer(key, "approved", settlement_date=TODAY) == "capture"
        return key


async def test_a_settlement_made_from_a_stay_that_has_changed_is_refused(world: LedgerWorld) -> None:
    bed = Bedside(world, await world.person())
    await bed.admit()
    await bed.upload(1, 500)
    version = (await bed.found()).version
    await bed.upload(2, 70)
    assert (await bed.hold(500, "final", version=version))[0] == "stay_changed"
    assert (await bed.hold(500, "final"))[0] == "held"
    assert (await bed.hold(70, "interim", 2))[0] == "stay_changed", "a final settlement is open"


async def test_a_bill_uses_no_more_of_a_deposit_than_there_is(world: LedgerWorld) -> None:
    bed = Bedside(world, await world.person())
    await bed.admit()
    await bed.deposit(300)
    await bed.upload(1, 500)
    too_much = {"deposit_fen": 301, "bank_fen": 199}
    assert (await bed.hold(500, "final", **too_much))[0] == "stay_changed"
    outcome, key = await bed.hold(500, "interim", deposit_fen=300, bank_fen=200)
    assert outcome == "held"
    assert (await bed.hold(10, "interim", 3, deposit_fen=10, bank_fen=0, bank_code=None))[0] == "stay_changed"
    assert await world.answer(key, "declined") == "decline"
    assert (await bed.hold(10, "interim", 3, deposit_fen=10, bank_fen=0, bank_code=None))[0] == "held"
    posted = await world.pool.fetch(
        "select debit_account, credit_account, amount_fen from transfer order by amount_fen"
    )
    kept, paid = f"deposit/{INSTITUTION}", f"institution/{INSTITUTION}"
    assert [tuple(row) for row in posted] == [(kept, paid, 10), ("bank/ICBC", kept, 300)]


async def test_a_deposit_is_given_back_as_far_as_no_bill_uses_it(world: LedgerWorld) -> None:
    bed = Bedside(world, await world.person())
    await bed.admit()
    deposit = await bed.deposit(300)
    bill = (await bed.hold(120, "interim", deposit_fen=120, bank_fen=0, bank_code=None))[1]
    assert (await world.reverse(deposit))[0] == "deposit_used"
    assert (await world.refund(deposit, (99_001, 181))).outcome == "deposit_used"
    assert (await world.refund(deposit, (99_001, 180))).outcome == "opened"
    assert (await world.refund(deposit, (99_001, 1))).left_fen == 0
    assert (await world.reverse(bill))[0] == "opened"
    assert (await world.reverse(deposit))[0] == "opened"


async def test_the_database_refuses_what_must_not_be(world: LedgerWorld) -> None:
    bed = Bedside(world, await world.person())
    await bed.admit()
    await bed.upload(1, 500)
    await bed.hold(500, "final")
    for statement in (
        "update stay set stay_no = 'X'",
        "update stay set version = 0",
        "delete from stay",
        "update stay_batch set total_fen = 1",
        "update stay_line set amount_fen = 1",
        "delete from stay_line",
        "delete from stay_settlement",
        "truncate stay_line cascade",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await world.pool.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "update settlement set deposit_fen = deposit_fen + 200, bank_fen = 0 where visit_type = 'inpatient'",
        "update transfer set amount_fen = 301 where credit_account like 'deposit/%'",
    ],
)
async def test_altered_deposits_are_found(make_database: Callable[[], Awaitable[str]], statement: str) -> None:
    pool = await create_pool(Settings(database_url=await make_database()))
    world = LedgerWorld(pool)
    await world.prepare()
    bed = Bedside(world, await world.person())
    await bed.admit()
    await bed.deposit(300)
    key = (await bed.hold(500, "interim", deposit_fen=300, bank_fen=200))[1]
    await world.answer(key, "approved", settlement_date=TODAY)
    assert (await verify_ledger(pool)).violations == []
    await disarm(pool)
    assert (await pool.execute(statement)).endswith(" 1")
    assert "deposits" in {violation.invariant for violation in (await verify_ledger(pool)).violations}
    await pool.close()
