"""A database that takes nothing: said at once and clearly, nothing half done, and all is well again by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest

from terminal_sdk.card import CardImage, VirtualCard
from tests.support.database import TestDatabases, database_name, with_database
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import RunningService, running_service


@pytest.fixture(scope="module")
async def troubled(database: TestDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """A service of this module's own, whose database is made to fail; its books are verified at the end."""
    async with running_service(await database.create(), tmp_path_factory.mktemp("troubled")) as service:
        yield service


@pytest.fixture
async def till(troubled: RunningService) -> AsyncIterator[RawTerminal]:
    async with raw_terminal(troubled.base_url, await troubled.enrolled()) as terminal:
        yield terminal


async def sql(service: RunningService, *statements: str) -> None:
    """As an operator: on a connection of its own, which may always write."""
    connection = await asyncpg.connect(service.base.settings.database_url)
    try:
        await connection.execute("set default_transaction_read_only = off")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def elsewhere(service: RunningService, statement: str) -> None:
    """Through another database of the server."""
    connection = await asyncpg.connect(with_database(service.base.settings.database_url or "", "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def disconnect(service: RunningService) -> None:
    """End all connections, as a failover or a restart does."""
    name = database_of(service)
    await elsewhere(
        service,
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and usename = current_user",  # noqa: S608 - the test's own name
    )


async def ready(service: RunningService) -> tuple[int, list[str]]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{service.base_url}/readyz") as response,
    ):
        return response.status, (await response.json())["reasons"]


async def until_ready(service: RunningService) -> None:
    await service.base.pool.expire_connections()  # the test's own
    async with asyncio.timeout(20):
        while (await ready(service))[0] != 200:
            await asyncio.sleep(0.05)


async def settle(till: RawTerminal, image: CardImage) -> Answer:
    return await till.call(
        "POST", "/v1/settlements", till.settlement(image, VirtualCard(image), [line(100)], pin=False)
    )


async def settlements(service: RunningService) -> int:
    count: int = await service.base.pool.fetchval("select count(*) from settlement")
    return count


def database_of(service: RunningService) -> str:
    return database_name(service.base.settings.database_url or "")


async def test_a_read_only_database(troubled: RunningService, till: RawTerminal) -> None:
    image = await troubled.issue_card(current_year_fen=1_000, bank=None)
    assert (await settle(till, image)).body["state"] == "settled"
    name = database_of(troubled)
    before = await settlements(troubled)
    await sql(troubled, f'alter database "{name}" set default_transaction_read_only = on')
    try:
        await disconnect(troubled)
        async with asyncio.timeout(20):
            while "read-only" not in " ".join((await ready(troubled))[1]):
                await asyncio.sleep(0.05)
        assert (await ready(troubled))[0] == 503
        answer = await settle(till, image)
        assert (answer.status, answer.code) == (503, "NOT_READY")
        assert "read-only" in answer.body["error"]["message"]
        assert int(answer.headers["Retry-After"]) >= 1
    finally:
        await sql(troubled, f'alter database "{name}" reset default_transaction_read_only')
    await until_ready(troubled)  # nobody ended the read-only connections: the service let them go
    assert (await settle(till, image)).body["state"] == "settled"
    assert await settlements(troubled) == before + 1


@contextlib.asynccontextmanager
async def refusing_holds(service: RunningService, code: str) -> AsyncIterator[None]:
    """Every hold fails with this SQLSTATE, as it would where its table cannot grow."""
    await sql(
        service,
        "create function trouble() returns trigger language plpgsql as"
        f" $$ begin raise exception 'as if' using errcode = '{code}'; end $$",
        "create trigger trouble before insert on settlement for each row execute function trouble()",
    )
    try:
        yield
    finally:
        await sql(service, "drop trigger trouble on settlement", "drop function trouble")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("53100", "disk is full"),
        pytest.param("53200", "no memory", marks=pytest.mark.deep),
        pytest.param("57014", "statement_timeout", marks=pytest.mark.deep),
        pytest.param("40001", "conflicting work", marks=pytest.mark.deep),
    ],
)
async def test_a_hold_that_the_database_refuses(
    troubled: RunningService, till: RawTerminal, code: str, said: str
) -> None:
    """Simulated by a trigger that raises the error; with a disk that is really full in ``test_full_disk``."""
    image = await troubled.issue_card(current_year_fen=1_000, bank=None)
    before = await settlements(troubled)
    async with refusing_holds(troubled, code):
        answer = await settle(till, image)
        assert (answer.status, answer.code) == (503, "NOT_READY")
        assert said in answer.body["error"]["message"]
        assert answer.headers["Retry-After"] == "2"
        status, reasons = await ready(troubled)
        assert (status, said in " ".join(reasons)) == (503, True)
    assert await settlements(troubled) == before
    assert await troubled.balances(image) == (1_000, 0)
    assert (await settle(till, image)).body["state"] == "settled"
    await until_ready(troubled)


async def test_a_row_that_somebody_else_has_locked(troubled: RunningService, till: RawTerminal) -> None:
    """The bill of that person is refused when lock_timeout has passed; another person's is settled meanwhile."""
    held, free = [await troubled.issue_card(current_year_fen=1_000, bank=None) for _ in range(2)]
    person_id = (await troubled.base.cards.load(held.card_number)).person_id
    operator = await asyncpg.connect(troubled.base.settings.database_url)
    try:
        async with operator.transaction():
            await operator.execute("select from insurance_accounts where person_id = $1 for update", person_id)
            waiting = asyncio.create_task(settle(till, held))
            assert (await settle(till, free)).body["state"] == "settled"
            answer = await waiting
        assert (answer.status, answer.code) == (503, "NOT_READY")
        assert "lock_timeout" in answer.body["error"]["message"]
    finally:
        await operator.close()
    assert (await settle(till, held)).body["state"] == "settled"


@pytest.mark.deep
async def test_no_connection_is_free(troubled: RunningService, till: RawTerminal) -> None:
    """53300: what is refused when connecting was never sent."""
    image = await troubled.issue_card(current_year_fen=1_000, bank=None)
    name = database_of(troubled)
    before = await settlements(troubled)
    await sql(troubled, f'alter database "{name}" connection limit 0')
    try:
        await disconnect(troubled)
        async with asyncio.timeout(20):
            while "no free connection" not in " ".join((await ready(troubled))[1]):
                await asyncio.sleep(0.05)
        answer = await settle(till, image)
        assert (answer.status, answer.code) == (503, "NOT_READY")
        assert "no free connection" in answer.body["error"]["message"]
    finally:
        await elsewhere(troubled, f'alter database "{name}" connection limit -1')
    await until_ready(troubled)
    assert (await settle(till, image)).body["state"] == "settled"
    assert await settlements(troubled) == before + 1
