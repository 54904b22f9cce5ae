"""Every key and every hot statement would stay on one shard: the plan of distribution held against the catalog."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from settlement.cards.registry import SQL as CARDS
from settlement.db import pool
from settlement.db.distribution import DISTRIBUTED, LOCAL, REFERENCE
from settlement.ledger.ledger import SQL as LEDGER

HOT_READS = {
    "settlement_statuses": LEDGER["settlement_statuses"],
    "undo_status": LEDGER["undo_status"],
    "receipt_facts": LEDGER["receipt_facts"],
    "bank_leg": LEDGER["bank_leg"],
    "find_keys": LEDGER["find_keys"],
    "find_saga": LEDGER["find_saga"],
    "person": CARDS["person"],
    "find_by_id_number": CARDS["find_by_id_number"],
    "find_by_card_number": CARDS["find_by_card_number"],
}

BY_KEY = "; ".join(f"set {name} = {value}" for name, value in pool.PLANS_BY_KEY.items())
"""How the service's connections plan."""

# A date of today keeps the partition that a parameter unknown to the planner is pruned to at the start.
SAMPLES = {
    "bigint": "1",
    "text": "'x'",
    "date": "current_date",
    "uuid": "'00000000-0000-0000-0000-000000000000'",
    "bigint[]": "array[1]",
    "text[]": "array['x']",
    "bytea[]": "array['x'::bytea]",
    "date[]": "array[current_date]",
    "uuid[]": "array['00000000-0000-0000-0000-000000000000'::uuid]",
}


@pytest.fixture
async def connection(make_database: Callable[[], Awaitable[str]]) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(await make_database())
    yield connection
    await connection.close()


async def test_every_table_has_its_place(connection: asyncpg.Connection) -> None:
    tables = await connection.fetch(
        """select relname from pg_class where relkind in ('r', 'p') and not relispartition
           and relnamespace = 'public'::regnamespace"""
    )
    assert {row["relname"] for row in tables} == REFERENCE | LOCAL | set(DISTRIBUTED)


async def test_every_unique_key_of_a_distributed_table_holds_its_column(connection: asyncpg.Connection) -> None:
    keys = await connection.fetch(
        """select t.relname as table_name, x.indexrelid::regclass::text as index_name,
                  array_agg(a.attname order by k.place) as columns
           from pg_index x join pg_class t on t.oid = x.indrelid
           cross join lateral unnest(x.indkey::int2[]) with ordinality as k (attnum, place)
           join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum
           where x.indisunique and not t.relispartition and t.relnamespace = 'public'::regnamespace
           group by 1, 2"""
    )
    for key in keys:
        column = DISTRIBUTED.get(key["table_name"])
        if column is not None:
            assert key["columns"][0] == column, key["index_name"]


async def test_foreign_keys_stay_on_a_shard_or_go_to_a_copied_table(connection: asyncpg.Connection) -> None:
    links = await connection.fetch(
        """select c.conname, f.relname as from_table, t.relname as to_table,
                  (select array_agg(a.attname order by k.place)
                   from unnest(c.conkey) with ordinality as k (attnum, place)
                   join pg_attribute a on a.attrelid = f.oid and a.attnum = k.attnum) as from_columns,
                  (select array_agg(a.attname order by k.place)
                   from unnest(c.confkey) with ordinality as k (attnum, place)
                   join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum) as to_columns
           from pg_constraint c join pg_class f on f.oid = c.conrelid join pg_class t on t.oid = c.confrelid
           where c.contype = 'f' and c.conparentid = 0 and not f.relispartition"""
    )
    assert len(links) > 5
    for link in links:
        if link["to_table"] in REFERENCE:
            continue
        if link["from_table"] in LOCAL:
            assert link["to_table"] in LOCAL, link["conname"]
            continue
        pairs = dict(zip(link["from_columns"], link["to_columns"], strict=True))
        assert pairs.get(DISTRIBUTED[link["from_table"]]) == DISTRIBUTED[link["to_table"]], link["conname"]


async def test_every_hot_read_finds_its_rows_by_the_column_of_distribution(connection: asyncpg.Connection) -> None:
    await connection.execute(BY_KEY)
    for name, statement in HOT_READS.items():
        plan = await _generic_plan(connection, name, statement)
        scanned = set(re.findall(r"Scan(?: Backward)? using \S+ on (\w+?)(?:_\d{6})?(?: \w+)?\s", plan))
        scanned |= set(re.findall(r"Seq Scan on (\w+?)(?:_\d{6})?(?: \w+)?\s", plan))
        assert scanned, plan
        for table in scanned & set(DISTRIBUTED):
            conditions = re.findall(
                rf"on {table}(?:_\d{{6}})?(?: \w+)?\s+\(cost[^\n]*\n(?:\s+(?:Index Cond|Filter): [^\n]*\n?)+", plan
            )
            assert conditions, f"{name}: {table} is read without a condition\n{plan}"
            for condition in conditions:
                assert DISTRIBUTED[table] in condition, f"{name}: {table}\n{condition}"


async def _generic_plan(connection: asyncpg.Connection, name: str, statement: str) -> str:
    """The plan of a statement whose parameters are not known yet."""
    await connection.execute(f"prepare {name} as {statement}")
    kinds = await connection.fetchval(
        "select parameter_types::text[] from pg_prepared_statements where name = $1", name
    )
    samples = ", ".join(SAMPLES[kind] for kind in kinds)
    return "\n".join(row[0] for row in await connection.fetch(f"explain execute {name}({samples})"))


@pytest.mark.parametrize("name", ["settlement_statuses", "undo_status", "receipt_facts", "bank_leg"])
async def test_a_hot_read_opens_only_the_partitions_of_its_date(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(BY_KEY)
    plan = await _generic_plan(connection, name, HOT_READS[name])
    opened = re.findall(r"Scan\S*(?: Backward)?(?: using \S+)? on (\w+)_(\d{6})\b", plan)
    assert len(opened) > 1, plan
    for table, month in opened:
        assert month == opened[0][1], f"{table}_{month}\n{plan}"
