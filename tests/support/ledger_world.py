"""A small world for tests of the ledger alone: an institution and persons with one active card each, by plain SQL."""

from __future__ import annotations

import datetime as dt
import itertools
import secrets
import uuid
from typing import Any

import asyncpg
import msgspec

from settlement.ledger.ledger import Ledger
from settlement.ledger.records import BankEvidence, HoldRequest, SagaKey, UndoOrder, UndoVerdict
from settlement.ledger.years import Opened, Opening, YearBook
from settlement.policy.book import PlanBook
from settlement.policy.catalog import Catalog
from settlement.policy.judge import Bill, Insured, judge, judge_refund, moves_of
from settlement.policy.plan import Person
from settlement.policy.split import Balances, split_bill
from terminal_sdk.wire import FeeLine, RefundLine

INSTITUTION = "H31010100001"
PLANS = PlanBook.load()
WORKING = Person(status="working", born_on=dt.date(1990, 1, 1))
"""Deductible 1500.00 a year, then the additional fund pays 65, 60 or 50 % by level."""
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
TODAY = NOW.date()
_numbers = itertools.count(1)


def line(amount_fen: int, line_no: int = 1, category: str = "A") -> FeeLine:
    """A fee line of this amount."""
    return msgspec.convert(
        {"line_no": line_no, "item_code": "X1", "item_name": "item", "category": category, "amount_fen": amount_fen},
        FeeLine,
    )


class LedgerWorld:
    """Persons, holds and answers over one pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.ledger = Ledger(pool)

    async def prepare(self) -> None:
        """The institution that all bills belong to."""
        await self.pool.execute(
            "insert into institution values ($1, 'Hospital', 'hospital', 3, 'active', $2)", INSTITUTION, NOW
        )

    async def person(self, current_year_fen: int = 0, carried_over_fen: int = 0) -> int:
        """A person with these balances and an active third-generation card (card id = person id)."""
        person_id: int = await self.pool.fetchval("select nextval('person_id_seq')")
        await self.pool.execute("insert into person values ($1, '\\x01', '\\x02', $2)", person_id, NOW)
        await self.pool.execute("insert into insurance_accounts (person_id) values ($1)", person_id)
        await self.pool.execute(
            """insert into card (person_id, card_id, kind, card_number_sealed, social, financial, issued_on, expires_on,
                                 certificate_sealed, certificate_fingerprint, certificate_not_after, public_key,
                                 bank_code, pan_sealed, registered_at)
               values ($1, $1, 'third_generation', '\\x03', 'active', 'active', '2020-01-01', '2099-01-01',
                       '\\x04', 'f', '2099-01-01', '\\x05', 'ICBC', '\\x06', $2)""",
            person_id,
            NOW,
        )
        for account, fen in (("current_year", current_year_fen), ("carried_over", carried_over_fen)):
            if fen:
                await self.credit(person_id, account, fen)
        return person_id

    async def credit(self, person_id: int, account: str, fen: int, credit_id: uuid.UUID | None = None) -> bool:
        """Put money on an account; False if this credit was booked before."""
        booked: bool = await self.pool.fetchval(
            "select credit_account($1, $2, $3, $4, 'test', $5, $6)",
            person_id,
            credit_id or uuid.uuid4(),
            account,
            fen,
            TODAY,
            NOW,
        )
        return booked

    async def open_year(self, person_id: int, year: int, credit_fen: int = 0, *, began_at: dt.datetime = NOW) -> Opened:
        """Turn a person's insurance year."""
        async with self.pool.acquire() as connection:
            opening = Opening(person_id, uuid.uuid4(), credit_fen)
            (opened,) = await YearBook(connection).open(
                year, [opening], reason="test", began_at=began_at, posting_date=TODAY, now=NOW
            )
            return opened

    async def sweep(self, person_id: int, year: int) -> int:
        """Carry over what came back to a person late; returns how much (fen)."""
        async with self.pool.acquire() as connection:
            items = [(person_id, uuid.uuid4())]
            found = await YearBook(connection).sweep(year, items, posting_date=TODAY, now=NOW)
            return found.get(person_id, 0)

    async def request(self, person_id: int, lines: list[FeeLine], **changes: Any) -> HoldRequest:
        """A hold request split by the person's present balances; ``changes`` replace single fields."""
        accounts = await self.accounts(person_id)
        balances = Balances(
            accounts["current_year_posted_fen"] - accounts["current_year_held_fen"],
            accounts["carried_over_posted_fen"] - accounts["carried_over_held_fen"],
            accounts["version"],
        )
        split = split_bill(lines, balances, changes.pop("remainder", "bank"))
        number = next(_numbers)
        request = HoldRequest(
            person_id=person_id,
            acceptance_date=TODAY,
            settlement_id=uuid.uuid4(),
            institution_id=INSTITUTION,
            terminal_id="T0000001",
            card_id=person_id,
            card_counter=number,
            idempotency_key=f"key-{number}-{secrets.token_hex(4)}",
            body_digest="\\x" + "00" * 32,
            visit_no=f"V{number}",
            visit_type="outpatient",
            service_date=TODAY,
            accepted_at=NOW,
            deadline_at=NOW + dt.timedelta(seconds=150),
            account_version=balances.version,
            bill_fen=split.total_fen,
            own_expense_fen=split.own_expense_fen,
            pooled_fund_fen=split.pooled_fund_fen,
            additional_fund_fen=split.additional_fund_fen,
            deposit_fen=0,
            policy=None,
            moved=[],
            stay=None,
            current_year_fen=split.current_year_fen,
            carried_over_fen=split.carried_over_fen,
            bank_fen=split.bank_fen,
            cash_fen=split.cash_fen,
            lines=lines,
            parts=split.parts,
            agreed="ceiling:0",
            on_bank_decline="release",
            bank_notice=None,
            consent=None,
            bank_code="ICBC" if split.bank_fen else None,
            issuer="ICBC",
            posting_date=TODAY,
            lease_until=NOW + dt.timedelta(seconds=20),
            worker="test",
            key_expires_at=NOW + dt.timedelta(days=400),
        )
        return msgspec.structs.replace(request, **changes)

    async def judged_request(self, person_id: int, lines: list[FeeLine], **changes: Any) -> HoldRequest:
        """A hold request judged by the employees' plan and the person's present accounts and counters.

        ``plan``, ``level``, ``visit_type``, ``insured``, ``items`` and ``remainder`` as the judgement takes them.
        """
        accounts = await self.accounts(person_id)
        plan = changes.pop("plan", "employees")
        rows = "select * from accumulator where person_id = $1 and plan = $2"
        counters = await self.pool.fetch(rows, person_id, plan)
        years: dict[int, dict[str, int]] = {}
        for row in counters:
            years.setdefault(row["insurance_year"], {})[row["counter"]] = row["fen"]
        visit_type = changes.pop("visit_type", "outpatient")
        bill = Bill(
            lines=lines,
            service_date=changes.get("service_date", TODAY),
            visit_type=visit_type,
            level=changes.pop("level", 1),
            items=changes.pop("items", Catalog()),
            remainder=changes.pop("remainder", "bank"),
        )
        insured = Insured(
            plan=plan,
            person=changes.pop("insured", WORKING),
            balances={
                "current_year": accounts["current_year_posted_fen"] - accounts["current_year_held_fen"],
                "carried_over": accounts["carried_over_posted_fen"] - accounts["carried_over_held_fen"],
            },
            counters=years,
        )
        split, policy = judge(bill, insured, PLANS)
        facts = msgspec.structs.asdict(split)
        return await self.request(
            person_id,
            lines,
            visit_type=visit_type,
            bill_fen=facts.pop("total_fen"),
            policy=policy,
            moved=moves_of(policy),
            account_version=accounts["version"],
            bank_code="ICBC" if split.bank_fen else None,
            **(facts | changes),
        )

    async def hold_judged(self, person_id: int, *amounts: FeeLine, **changes: Any) -> SagaKey:
        """Hold a bill judged by the employees' plan; fails the test unless it is held."""
        verdict = await self.ledger.hold(await self.judged_request(person_id, list(amounts), **changes))
        assert verdict.outcome == "held"
        return verdict.key

    async def settle_judged(self, person_id: int, *amounts: FeeLine, **changes: Any) -> SagaKey:
        """The same, and the bank approves."""
        key = await self.hold_judged(person_id, *amounts, **changes)
        if await self.leg(key) is not None:
            assert await self.answer(key, "approved", settlement_date=TODAY) == "capture"
        return key

    async def refund_judged(self, key: SagaKey, *lines: tuple[int, int | None], **changes: Any) -> UndoVerdict:
        """Refund lines of a judged bill, as the engine works it out."""
        facts = await self.ledger.refund_facts(key)
        assert facts is not None
        kept = judge_refund(facts, [RefundLine(line_no=number, amount_fen=fen) for number, fen in lines], PLANS)
        worked_out = {
            "shares": kept.shares,
            "counters": kept.counters,
            "own_expense_fen": kept.own_expense_fen,
            "returned_before_fen": facts.returned_fen,
        }
        return await self.refund(key, *lines, **(worked_out | changes))

    async def counters(self, person_id: int) -> dict[str, int]:
        """The person's counters that are not zero, all years together."""
        rows = await self.pool.fetch(
            "select counter, fen from accumulator where person_id = $1 and fen <> 0", person_id
        )
        return {row["counter"]: row["fen"] for row in rows}

    async def hold(self, person_id: int, *amounts: FeeLine, **changes: Any) -> SagaKey:
        """Hold a bill of these lines; fails the test unless it is held."""
        verdict = await self.ledger.hold(await self.request(person_id, list(amounts), **changes))
        assert verdict.outcome == "held"
        return verdict.key

    async def answer(self, key: SagaKey, outcome: str, *, fence: int = 1, **changes: Any) -> str:
        """A bank's answer to the debit of a settlement; returns the action taken."""
        return await self.ledger.record_debit_answer(evidence(key, outcome, fence=fence, **changes), NOW)

    async def reverse(self, key: SagaKey, **changes: Any) -> tuple[str, uuid.UUID]:
        """Reverse a settlement under a fresh key."""
        verdict = await self.ledger.request_undo(msgspec.structs.replace(self.undo_order(key), **changes))
        return verdict.outcome, verdict.saga_id

    async def refund(self, key: SagaKey, *lines: tuple[int, int | None], **changes: Any) -> UndoVerdict:
        """Refund lines (number, fen or None for the rest) under a fresh key."""
        wanted = [RefundLine(line_no=number, amount_fen=fen) for number, fen in lines]
        order = msgspec.structs.replace(self.undo_order(key), kind="refund", lines=wanted, **changes)
        return await self.ledger.request_undo(order)

    def undo_order(self, key: SagaKey) -> UndoOrder:
        """An order to reverse a settlement, with a key of its own."""
        return UndoOrder(
            kind="reversal",
            institution_id=INSTITUTION,
            terminal_id="T0000001",
            idempotency_key=f"undo-{next(_numbers)}-{secrets.token_hex(4)}",
            body_digest="\\x" + "11" * 32,
            undo_id=uuid.uuid4(),
            person_id=key.person_id,
            acceptance_date=key.acceptance_date,
            settlement_id=key.saga_id,
            reason="test",
            verb="void",
            requested_at=NOW,
            posting_date=TODAY,
            lease_until=NOW + dt.timedelta(seconds=20),
            worker="test",
            key_expires_at=NOW + dt.timedelta(days=400),
        )

    async def accounts(self, person_id: int) -> Any:
        """The person's balances."""
        return await self.pool.fetchrow("select * from insurance_accounts where person_id = $1", person_id)

    async def state(self, key: SagaKey) -> str:
        """The derived state of a settlement."""
        row = await self.ledger.settlement_status(key)
        assert row is not None
        state: str = row["state"]
        return state

    async def leg(self, key: SagaKey, leg: str = "bank") -> Any:
        """A leg's row."""
        return await self.pool.fetchrow("select * from leg where saga_id = $1 and leg = $2", key.saga_id, leg)


def evidence(key: SagaKey, outcome: str, *, fence: int = 1, **changes: Any) -> BankEvidence:
    """A bank's answer as the engine records it."""
    defaults: dict[str, Any] = {"cause": "test", "next_attempt_at": NOW + dt.timedelta(seconds=1)}
    if outcome == "declined":
        defaults |= {"decline_code": "BANK_DECLINED", "response_code": "05"}
    return BankEvidence(
        person_id=key.person_id,
        acceptance_date=key.acceptance_date,
        saga_id=key.saga_id,
        outcome=outcome,
        fence=fence,
        posting_date=TODAY,
        **(defaults | changes),
    )
