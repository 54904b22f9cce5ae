"""Two things at once to one person: whoever takes the person's lock first is first, and the other sees it whole.

The order is set by transactions held open on connections of their own; the waiting is seen in the server's own view of
who blocks whom, never timed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest

from settlement.cards.model import CardContext
from settlement.cards.registry import SQL, CardRegistry
from settlement.clock import SystemClock
from settlement.errors import ServiceError
from tests.support.cards import Issue, Pool, new_id_number

INSTITUTION = "H31010199999"
DEADLINE_S = 30.0


@pytest.fixture(scope="module", autouse=True)
async def institution(pool: Pool) -> None:
    await pool.execute(
        "insert into institution values ($1, 'Hospital', 'hospital', 3, 'active', now()) on conflict do nothing",
        INSTITUTION,
    )


@asynccontextmanager
async def own_transaction(dsn: str, *, commit: bool = True) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of its own with a transaction that stays open until the block ends, and is ended there."""
    connection = await asyncpg.connect(dsn)
    try:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await (transaction.commit() if commit else transaction.rollback())
    finally:
        await connection.close()


async def started_and_blocked(pool: Pool, work: Coroutine[Any, Any, Any], *, blocked: int = 1) -> asyncio.Task[Any]:
    """Start the work; come back when the server says that so many sessions of this database wait for another."""
    task = asyncio.ensure_future(work)
    deadline = time.monotonic() + DEADLINE_S
    query = """select count(*) from pg_stat_activity
               where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"""
    while await pool.fetchval(query) < blocked:
        assert not task.done(), "the work did not wait for the person's lock"
        assert time.monotonic() < deadline, "the work never came to the person's lock"
    return task


def hold_item(card: CardContext, *, cash_fen: int = 100) -> str:
    """A small bill paid in cash, as the engine hands it to the hold function."""
    now = SystemClock().now()
    item = {
        "ord": 1,
        "person_id": card.person_id,
        "acceptance_date": now.date(),
        "settlement_id": uuid.uuid4(),
        "institution_id": INSTITUTION,
        "terminal_id": "T0000001",
        "card_id": card.card_id,
        "card_counter": card.last_counter + 1,
        "idempotency_key": secrets.token_hex(8),
        "body_digest": "\\x00",
        "visit_no": secrets.token_hex(8),
        "visit_type": "outpatient",
        "service_date": now.date(),
        "accepted_at": now,
        "deadline_at": now + dt.timedelta(seconds=150),
        "account_version": card.account_version,
        "bill_fen": cash_fen,
        "own_expense_fen": 0,
        "pooled_fund_fen": 0,
        "additional_fund_fen": 0,
        "deposit_fen": 0,
        "current_year_fen": 0,
        "carried_over_fen": 0,
        "bank_fen": 0,
        "cash_fen": cash_fen,
        "lines": [{"line_no": 1}],
        "parts": [],
        "moved": [],
        "agreed": "ceiling:0",
        "on_bank_decline": "release",
        "posting_date": now.date(),
        "key_expires_at": now + dt.timedelta(days=400),
    }
    return msgspec.json.encode([item]).decode()


HOLD = "select outcome from hold_settlements($1::text::jsonb)"


async def valid_cards(pool: Pool, person_id: int) -> list[int]:
    rows = await pool.fetch(
        "select card_id from card where person_id = $1 and life = 'issued' and social <> 'inactive'", person_id
    )
    return [row["card_id"] for row in rows]


async def test_fifty_activations_of_two_new_cards_leave_exactly_one_valid(
    registry: CardRegistry, issue: Issue, pool: Pool
) -> None:
    number = new_id_number()
    old = await issue(number, legacy=True, activate="social")
    new = [await issue(number), await issue(number)]
    calls = [
        (registry.activate_social if turn % 4 < 2 else registry.activate_financial)(new[turn % 2].card_number)
        for turn in range(50)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    failures = [result for result in results if result is not None]
    assert all(isinstance(failure, ServiceError) and failure.code == "CARD_VOID" for failure in failures)
    assert len(failures) < len(results)
    cards = [await registry.load(image.card_number) for image in new]
    assert (await registry.load(old.card_number)).life == "void"
    assert len(await valid_cards(pool, cards[0].person_id)) == 1
    assert sorted(card.life for card in cards) in (["issued", "void"], ["issued", "issued"])
    voided = await pool.fetchval(
        "select count(*) from card_event where person_id = $1 and event = 'voided'", cards[0].person_id
    )
    activated = await pool.fetchval(
        "select count(*) from card_event where person_id = $1 and event = 'social_activated'", cards[0].person_id
    )
    assert activated - voided == 1


async def test_a_hold_under_way_makes_the_activation_wait_and_is_settled_with_the_old_card(
    registry: CardRegistry, issue: Issue, pool: Pool, registry_dsn: str
) -> None:
    number = new_id_number()
    old, new = await issue(number, activate="social"), await issue(number)
    card = await registry.load(old.card_number)
    async with own_transaction(registry_dsn) as till:
        assert await till.fetchval(HOLD, hold_item(card)) == "held"
        activation = await started_and_blocked(pool, registry.activate_social(new.card_number))
        assert (await registry.load(old.card_number)).life == "issued"
    await activation
    assert (await registry.load(old.card_number)).life == "void"
    assert await valid_cards(pool, card.person_id) == [(await registry.load(new.card_number)).card_id]


@pytest.mark.parametrize(
    "change",
    [
        "activate_card",
        "set_card_frozen",
        "end_card",
        "revoke_card_certificate",
    ],
)
async def test_every_change_under_way_makes_the_hold_wait_and_the_hold_sees_it(
    change: str, registry: CardRegistry, issue: Issue, pool: Pool, registry_dsn: str
) -> None:
    number = new_id_number()
    old, new = await issue(number, activate="social"), await issue(number)
    card, successor = await registry.load(old.card_number), await registry.load(new.card_number)
    now = SystemClock().now()
    arguments: dict[str, tuple[Any, ...]] = {
        "activate_card": (successor.person_id, successor.card_id, "social", registry.today(), now),
        "set_card_frozen": (card.person_id, card.card_id, "social", True, now),
        "end_card": (card.person_id, card.card_id, "lost", now),
        "revoke_card_certificate": (card.person_id, card.card_id, now),
    }
    async with own_transaction(registry_dsn) as office:
        assert await office.fetchval(SQL[change], *arguments[change]) is None
        hold = await started_and_blocked(pool, pool.fetchval(HOLD, hold_item(card)))
    assert await hold == "card_changed"


async def test_an_activation_that_is_rolled_back_leaves_the_old_card_in_use(
    registry: CardRegistry, issue: Issue, pool: Pool, registry_dsn: str
) -> None:
    number = new_id_number()
    old, new = await issue(number, activate="social"), await issue(number)
    card, successor = await registry.load(old.card_number), await registry.load(new.card_number)
    async with own_transaction(registry_dsn, commit=False) as office:
        now = SystemClock().now()
        key = (successor.person_id, successor.card_id)
        assert await office.fetchval(SQL["activate_card"], *key, "social", registry.today(), now) is None
        hold = await started_and_blocked(pool, pool.fetchval(HOLD, hold_item(card)))
    assert await hold == "held"
    assert await valid_cards(pool, card.person_id) == [card.card_id]
    assert [event.event for event in (await registry.describe(new.card_number)).events] == ["registered"]


async def test_credits_around_a_waiting_hold_are_booked_and_the_hold_sees_them(
    registry: CardRegistry, issue: Issue, pool: Pool, registry_dsn: str
) -> None:
    image = await issue(new_id_number(), activate="social")
    card = await registry.load(image.card_number)
    async with own_transaction(registry_dsn) as first:
        booked = await first.fetchval(
            SQL["credit_person"],
            card.person_id,
            uuid.uuid4(),
            "current_year",
            100,
            "monthly",
            registry.today(),
            SystemClock().now(),
        )
        assert booked == "booked"
        hold = await started_and_blocked(pool, pool.fetchval(HOLD, hold_item(card)))
        second = registry.credit(card.person_id, "current_year", 200, uuid.uuid4(), "monthly")
        credit = await started_and_blocked(pool, second, blocked=2)
    assert await hold == "stale"
    assert await credit
    assert (await registry.load(image.card_number)).current_year_available_fen == 300


async def test_fifty_credits_at_once_are_all_booked(registry: CardRegistry, issue: Issue) -> None:
    image = await issue(new_id_number())
    same = uuid.uuid4()
    ids = [uuid.uuid4() for _ in range(40)] + [same] * 10
    booked = await asyncio.gather(
        *(registry.credit(image.card_number, "carried_over", 1, credit_id, "monthly") for credit_id in ids)
    )
    assert sum(booked) == 41
    card = await registry.load(image.card_number)
    assert (card.carried_over_available_fen, card.account_version) == (41, 41)
