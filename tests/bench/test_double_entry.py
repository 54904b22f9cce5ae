"""The plain double entry keeps its books, also when everybody pays everybody at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from bench.double_entry import FUND, check_books, make_accounts, transfer

OPENING_FEN = 1_000
PEOPLE = 4


@pytest.fixture
async def pool(make_database: Callable[..., Awaitable[str]]) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(await make_database(migrated=False), min_size=1, max_size=12) as pool:
        yield pool


async def balances(pool: asyncpg.Pool) -> dict[int, int]:
    return {row["id"]: row["balance_fen"] for row in await pool.fetch("select id, balance_fen from account")}


async def test_crossing_transfers_keep_the_books(pool: asyncpg.Pool) -> None:
    payers, payees = await make_accounts(pool, PEOPLE, PEOPLE, OPENING_FEN)
    everybody = [*payers, *payees]
    moved: list[tuple[int, int, int]] = []

    async def client(seed: int) -> None:
        chance = random.Random(seed)
        async with pool.acquire() as connection:
            for _ in range(25):
                payer, payee = chance.sample(everybody, 2)
                amount_fen = chance.randrange(1, 400)
                if await transfer(connection, payer, payee, amount_fen):
                    moved.append((payer, payee, amount_fen))

    await asyncio.gather(*(client(seed) for seed in range(12)))
    assert await check_books(pool) == []
    expected = dict.fromkeys(payers, OPENING_FEN) | dict.fromkeys(payees, 0) | {FUND: -PEOPLE * OPENING_FEN}
    for payer, payee, amount_fen in moved:
        expected[payer] -= amount_fen
        expected[payee] += amount_fen
    assert await balances(pool) == expected
    assert await pool.fetchval("select count(*) from entry") == 2 * (len(moved) + PEOPLE)
    assert 0 < len(moved) < 12 * 25  # some were refused


async def test_nobody_pays_more_than_there_is(pool: asyncpg.Pool) -> None:
    (payer,), (payee,) = await make_accounts(pool, 1, 1, OPENING_FEN)
    async with pool.acquire() as connection:
        assert not await transfer(connection, payer, payee, OPENING_FEN + 1)
        assert await transfer(connection, payer, payee, OPENING_FEN)
        assert not await transfer(connection, payer, payee, 1)
    assert await balances(pool) == {FUND: -OPENING_FEN, payer: 0, payee: OPENING_FEN}
    assert await check_books(pool) == []


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("update account set balance_fen = balance_fen + 1 where id = 1", "the balances sum to 1 fen, not 0"),
        ("update account set balance_fen = balance_fen + 1 where id = 1", "account 1 has 1001 fen"),
        ("update entry set amount_fen = amount_fen - 1 where account_id = 1", "the entries sum to -1 fen, not 0"),
        ("update entry set amount_fen = amount_fen - 1 where account_id = 1", "does not balance"),
        ("delete from entry where account_id = 1", "does not balance"),
    ],
)
async def test_books_that_were_tampered_with_are_found(pool: asyncpg.Pool, statement: str, finding: str) -> None:
    await make_accounts(pool, 2, 1, OPENING_FEN)
    await pool.execute(statement)
    assert any(finding in said for said in await check_books(pool))
