"""Personal data at rest: nothing of it is found in any table, in any spelling, nor in the service's log."""

from __future__ import annotations

import asyncpg

from terminal_sdk.card import VirtualCard
from tests.support.raw_terminal import line, raw_terminal
from tests.support.service import RunningService


async def _dump(pool: asyncpg.Pool) -> bytes:
    """Every row of every table as text."""
    tables = await pool.fetch(
        "select quote_ident(relname) as name from pg_class "
        "where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    async with pool.acquire() as connection:
        for table in tables:
            await connection.copy_from_query(f"select * from {table['name']}", output=take)  # noqa: S608
    return b"".join(parts)


async def test_no_name_and_no_number_in_the_database_or_the_log(service: RunningService) -> None:
    image = await service.issue_card(current_year_fen=500, bank_fen=9_000)
    async with raw_terminal(service.base_url, await service.enrolled()) as till:
        paid = await till.call("POST", "/v1/settlements", till.settlement(image, VirtualCard(image), [line(800)]))
        receipt = await till.call("GET", f"/v1/receipts/{paid.body['receipt_id']}")
    assert receipt.status == 200
    assert image.pan is not None
    dump = (await _dump(service.base.pool)).lower()
    log = (service.folder / "service.log").read_bytes().lower()
    assert paid.body["settlement_id"].encode() in dump
    assert len(service.people) > 0
    secrets = [image.card_number, image.pan, *(value for one in service.people for value in (one.name, one.id_number))]
    for text in secrets:
        for encoding in ("utf-8", "gbk", "utf-16-le"):
            found = text.encode(encoding).lower()
            assert found not in dump
            assert found not in log
            assert found.hex().encode() not in dump
