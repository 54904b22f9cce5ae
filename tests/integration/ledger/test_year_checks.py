"""``settlement verify`` finds what is wrong with a turned year, whoever made it so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.verify import INVARIANTS, SQL
from tests.support.database import TestDatabases
from tests.support.ledger_world import LedgerWorld, line


@pytest.fixture(scope="module")
async def pool(database: TestDatabases) -> AsyncIterator[asyncpg.Pool]:
    """Books of one person: two years turned, one with a sweep, and a bill of each year."""
    dsn = await database.create()
    pool = await create_pool(Settings(database_url=dsn))
    world = LedgerWorld(pool)
    await world.prepare()
    person = await world.person(1_000)
    key = await world.hold(person, line(900, category="A"), line(50, 2, category="C"))
    await world.open_year(person, 2018, 300)
    await world.answer(key, "declined")
    assert await world.sweep(person, 2018) == 900
    await world.hold(person, line(50), remainder="cash")
    await world.open_year(person, 2019, 400)
    yield pool
    await pool.close()
    await database.drop(dsn)


TURN = "(select turn_id from account_year where insurance_year = 2018)"
PLACES = {
    "ROLLOVER": f"part = 'rollover' and saga_id = {TURN}",
    "CREDIT": f"part = 'current_year' and saga_id = {TURN}",
    "SWEEP": "saga_id = (select sweep_id from account_year_sweep)",
}
WRONGS = {
    "a rollover of another amount": ("update transfer set amount_fen = 101 where ROLLOVER", "year_turns"),
    "a rollover to another account": (
        "update transfer set credit_account = 'person/current_year', debit_account = 'x' where ROLLOVER",
        "year_turns",
    ),
    "a rollover that is gone": ("delete from transfer where ROLLOVER", "year_turns"),
    "a rollover without a turn": (
        """insert into transfer select person_id, posting_date, gen_random_uuid(), part, debit_account, credit_account,
            amount_fen, acceptance_date, posted_at from transfer where ROLLOVER""",
        "year_turns",
    ),
    "a rollover twice, on two days": (
        """insert into transfer select person_id, posting_date - 1, saga_id, part, debit_account, credit_account,
            amount_fen, acceptance_date, posted_at from transfer where ROLLOVER""",
        "year_turns",
    ),
    "more under the turn's name": (
        """insert into transfer select person_id, posting_date, saga_id, 'cash', 'bank/ICBC', 'person/carried_over',
            amount_fen, acceptance_date, posted_at from transfer where ROLLOVER""",
        "year_turns",
    ),
    "a credit that is gone": ("delete from transfer where CREDIT", "year_turns"),
    "a credit of another amount": ("update transfer set amount_fen = 301 where CREDIT", "year_turns"),
    "a credit that is not booked": (
        "delete from account_credit where credit_id = (select turn_id from account_year where insurance_year = 2019)",
        "credits",
    ),
    "a turn that says another amount": (
        "update account_year set rolled_fen = rolled_fen - 1 where insurance_year = 2019",
        "year_turns",
    ),
    "a sweep that is not posted": ("delete from transfer where SWEEP", "year_turns"),
    "a sweep that is gone": ("delete from account_year_sweep", "year_turns"),
    "a year that nobody opened": ("update insurance_accounts set opened_year = 2020", "opened_years"),
    "accounts that stayed in their year": ("update insurance_accounts set opened_year = 2018", "opened_years"),
    "accounts of no year": ("update insurance_accounts set opened_year = null", "opened_years"),
    "a turn that is gone": ("delete from account_year where insurance_year = 2019", "opened_years"),
    "more swept than came back": ("update account_year_sweep set rolled_fen = 901", "year_sweeps"),
    "swept, and nothing came back": ("update hold_end set outcome = 'posted'", "year_sweeps"),
    "swept of what came back before": (
        "update account_year set freed_fen = 1 where insurance_year = 2018",
        "year_sweeps",
    ),
    "a balance that forgets a rollover": (
        "update insurance_accounts set carried_over_posted_fen = carried_over_posted_fen - 100",
        "account_balances",
    ),
}


async def findings(connection: asyncpg.Connection) -> set[str]:
    return {name for name in INVARIANTS if await connection.fetch(SQL[name])}


async def test_books_as_they_were_made_are_right(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        assert await findings(connection) == set()


@pytest.mark.parametrize("wrong", WRONGS)
async def test_what_is_wrong_is_found(pool: asyncpg.Pool, wrong: str) -> None:
    statement, invariant = WRONGS[wrong]
    for name, place in PLACES.items():
        statement = statement.replace(name, place)
    table = statement.replace("delete from", "delete").replace("insert into", "insert").split()[1]
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"alter table {table} disable trigger user")
        done = await connection.execute(statement)
        assert int(done.rpartition(" ")[2]) == 1, done
        found = await findings(connection)
        await transaction.rollback()
    assert invariant in found
