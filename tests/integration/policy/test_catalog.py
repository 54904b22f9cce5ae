"""``settlement catalog`` over a real database: whole or nothing, twice is once, and no change without its record."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from settlement.bootstrap import prepare_installation
from settlement.cli.catalog import catalog
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.policy.catalog import COLUMNS, read_catalog
from settlement.policy.catalog_store import Imported, import_catalog
from tests.support.database import TestDatabases

HEADER = ",".join(COLUMNS)
FIRST = (
    "X1,阿莫西林,乙,0.10,12.50,2018-01-01,",
    "X2,床位,丙,,,2018-01-01,2018-12-31",
    'X3,"挂号, 普通",甲,,,2018-01-01,',
)
TABLES = ("catalog_item", "catalog_item_history", "catalog_import")


class Office:
    """An installation of its own, and files to import."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool[asyncpg.Record], folder: Path) -> None:
        self.settings, self.pool, self.folder = settings, pool, folder

    async def run(self, *arguments: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, catalog, arguments, obj=self.settings, catch_exceptions=False
        )

    def file(self, *rows: str) -> Path:
        path = self.folder / "items.csv"
        path.write_text("\n".join((HEADER, *rows, "")), encoding="utf-8")
        return path

    async def take(self, *rows: str) -> Result:
        return await self.run("import", str(self.file(*rows)))

    async def counts(self) -> list[int]:
        return [await self.pool.fetchval(f"select count(*) from {table}") for table in TABLES]  # noqa: S608 - ours


@pytest.fixture
async def office(database: TestDatabases, tmp_path: Path) -> AsyncIterator[Office]:
    dsn = await database.create()
    settings = Settings(database_url=dsn, data_dir=tmp_path, db_pool_min=0, db_pool_max=2)
    prepare_installation(settings, SystemClock())
    async with asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool:
        made = Office(settings, pool, tmp_path)
        # The first command migrates.
        assert (await made.run("show", "X0")).exit_code == 1
        yield made
    await database.drop(dsn)


async def test_a_file_is_taken_once_and_each_change_is_kept(office: Office) -> None:
    first = await office.take(*FIRST)
    assert first.stdout == "3 items read: 3 added, 0 changed, 0 as before; import 1\n"
    assert (
        await office.pool.fetchval("select file_digest from catalog_import")
        == hashlib.sha256(office.file(*FIRST).read_bytes()).digest()
    )
    again = await office.take(*FIRST)
    assert again.stdout == "3 items read: 0 added, 0 changed, 3 as before\n"
    assert await office.counts() == [3, 3, 1]

    # A later version, a price corrected, the rest unsaid.
    newer = await office.take("X1,阿莫西林,甲,,,2019-07-01,", "X2,床位,丙,,80.00,2018-01-01,2018-12-31")
    assert newer.stdout == "2 items read: 1 added, 1 changed, 0 as before; import 2\n"
    assert await office.counts() == [4, 5, 2]
    history = await office.pool.fetch(
        "select import_no, ceiling_fen from catalog_item_history where code = 'X2' order by 1"
    )
    assert [tuple(row) for row in history] == [(1, None), (2, 8_000)]


async def test_an_item_is_shown_as_it_stands_on_a_day(office: Office) -> None:
    await office.take(*FIRST, "X1,阿莫西林,甲,,,2019-07-01,")

    async def on(day: str, code: str = "X1") -> list[tuple[str, int, int | None]]:
        result = await office.run("show", code, "--on", day, "--json")
        return [(item["class"], item["share"], item["ceiling_fen"]) for item in json.loads(result.stdout or "[]")]

    assert await on("2017-12-31") == []
    assert await on("2019-06-30") == [("B", 1_000, 1_250)]
    assert await on("2019-07-01") == await on("2031-01-01") == [("A", 0, None)]
    assert await on("2018-12-31", "X2") == [("C", 0, None)]
    assert await on("2019-01-01", "X2") == []
    shown = (await office.run("show", "X1")).stdout.splitlines()
    words = "until its next version  B 乙  self-paid share 10.00 %  at most 12.50  阿莫西林"
    assert shown[0] == f"X1  2018-01-01 {words}"
    assert len(shown) == 2


async def test_what_is_exported_is_nothing_new(office: Office) -> None:
    await office.take(*FIRST, "X1,阿莫西林,乙,0.0525,,2019-07-01,")
    exported = (await office.run("export")).stdout
    assert exported.startswith(HEADER + "\nX1,阿莫西林,B,0.1000,12.50,2018-01-01,\nX1,阿莫西林,B,0.0525,,2019-07-01,\n")
    path = office.folder / "exported.csv"
    path.write_text(exported, encoding="utf-8")
    assert (await office.run("import", str(path))).stdout == "4 items read: 0 added, 0 changed, 4 as before\n"


async def test_trying_changes_nothing(office: Office) -> None:
    tried = await office.run("import", str(office.file(*FIRST)), "--dry-run")
    assert tried.stdout == "3 items read: 3 added, 0 changed, 0 as before; nothing was written\n"
    assert await office.counts() == [0, 0, 0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("X2,床位,丙,,,2018-06-01,", "X2 from 2018-06-01; give that version an end before it"),
        ("X9,药,丁,,,2018-01-01,", "items.csv, line 3: class must be"),
        ("X9,药,乙,1.2,,2018-01-01,", "items.csv, line 3: self_paid_share must be"),
    ],
)
async def test_where_one_item_is_wrong_none_is_taken(office: Office, row: str, words: str) -> None:
    await office.take(*FIRST)
    before = await office.counts()
    refused = await office.take("X8,药,甲,,,2018-01-01,", row)
    assert refused.exit_code == 1
    assert words in refused.output
    assert "Traceback" not in refused.output
    assert await office.counts() == before


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1: the header must be"),
        (HEADER.encode() + b"\n", "there is no item in it"),
        (HEADER.encode() + b"\nX1,\xb0\xa2,C,,,2018-01-01,\n", "line 2: this is not UTF-8"),
    ],
)
async def test_a_file_that_is_none_is_refused(office: Office, data: bytes, words: str) -> None:
    path = office.folder / "odd.csv"
    path.write_bytes(data)
    refused = await office.run("import", str(path))
    assert (refused.exit_code, words in refused.output) == (1, True), refused.output


async def test_an_unknown_item_and_a_day_that_is_none(office: Office) -> None:
    unknown = await office.run("show", "X7", "--on", "2019-07-01")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: the catalog does not know X7 on 2019-07-01\n")
    assert (await office.run("show", "X7", "--on", "July")).exit_code == 2


async def test_a_version_may_end_an_earlier_one_in_the_same_file(office: Office) -> None:
    await office.take("X2,床位,丙,,,2018-01-01,2018-12-31")
    moved = await office.take("X2,床位,丙,,,2018-06-01,", "X2,床位,丙,,,2018-01-01,2018-05-31")
    assert moved.stdout == "2 items read: 1 added, 1 changed, 0 as before; import 2\n"


async def test_two_imports_at_once_are_one_after_the_other(office: Office) -> None:
    rows = [f"Y{number:05d},药,甲,,,2018-01-01," for number in random.Random(1).sample(range(20_000), 5_000)]
    items = list(read_catalog([HEADER, *rows]).versions())
    sent: list[int] = []

    async def take(number: int) -> Imported:
        digest = bytes([number]) * 32
        return await import_catalog(
            office.pool, items, file_name="y.csv", digest=digest, now=SystemClock().now(), advance=sent.append
        )

    found = await asyncio.gather(take(1), take(2))
    assert sorted((each.added, each.changed, each.import_no or 0) for each in found) == [(0, 0, 0), (5_000, 0, 1)]
    assert sum(sent) == 10_000
    assert await office.counts() == [5_000, 5_000, 1]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from catalog_item",
        "truncate catalog_item cascade",
        "update catalog_import set items = 9",
        "delete from catalog_item_history",
        "update catalog_item set valid_to = '2020-01-01' where code = 'X1' and valid_from = '2018-01-01'",
    ],
)
async def test_the_database_keeps_the_record_too(office: Office, statement: str) -> None:
    await office.take(*FIRST, "X1,阿莫西林,甲,,,2019-07-01,")
    with pytest.raises(asyncpg.RestrictViolationError):
        await office.pool.execute(statement)
