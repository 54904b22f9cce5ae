"""The catalog in the database: imported whole or not at all, every change kept, read back as a file."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import asyncpg

from settlement.db.pool import Connection, plan_freely
from settlement.db.queries import load_queries
from settlement.policy.catalog import COLUMNS, Advance, Catalog, CatalogError, Item
from settlement.policy.plan import WHOLE

_SQL = load_queries("settlement.policy", "catalog.sql")
_CHUNK = 2_000
_LOCK_KEY = 0x5E771E_0017
_FIELDS = ("code", "valid_from", "valid_to", "name", "category", "share", "ceiling_fen")


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file changed. ``import_no``: of the import's record; None: nothing, or only tried."""

    items: int
    added: int
    changed: int
    import_no: int | None


async def import_catalog(
    pool: asyncpg.Pool[asyncpg.Record],
    items: Iterable[Item],
    *,
    file_name: str,
    digest: bytes,
    now: dt.datetime,
    advance: Advance | None = None,
    try_only: bool = False,
) -> Imported:
    """Add and change items by code and first day; what the file does not name stays.

    One transaction, one import at a time; the same file again changes nothing. ``digest``: the file's SHA-256 ·
    ``advance``: told of how many items more have been sent · ``try_only``: say what would change. Raises
    ``CatalogError`` where a version would begin while one from before holds by its own end.
    """
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            found = await _import(connection, items, file_name, digest, now, advance)
        except asyncpg.RestrictViolationError as error:
            await transaction.rollback()
            raise CatalogError(f"{error}; give that version an end before it, in the same file") from error
        except BaseException:
            await transaction.rollback()
            raise
        if try_only:
            await transaction.rollback()
            return Imported(found.items, found.added, found.changed, None)
        await transaction.commit()
        return found


async def _import(
    connection: Connection,
    items: Iterable[Item],
    file_name: str,
    digest: bytes,
    now: dt.datetime,
    advance: Advance | None,
) -> Imported:
    await plan_freely(connection)
    await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
    await connection.execute(_SQL["make_room"])
    sent = 0
    for chunk in _chunks(items):
        rows = [tuple(getattr(item, field) for field in _FIELDS) for item in chunk]
        await connection.copy_records_to_table("catalog_file", records=rows, columns=_FIELDS)
        sent += len(rows)
        if advance is not None:
            advance(len(rows))
    counts = await connection.fetchrow(_SQL["what_changes"])
    assert counts is not None  # noqa: S101 - an aggregate has one row
    added, changed = counts["added"], counts["changed"]
    if not added + changed:
        return Imported(sent, 0, 0, None)
    import_no = await connection.fetchval(_SQL["note_import"], file_name, digest, sent, added, changed, now)
    await connection.execute(_SQL["merge"], import_no)
    return Imported(sent, added, changed, import_no)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def versions_of(pool: asyncpg.Pool[asyncpg.Record], code: str) -> list[Item]:
    """All versions of an item, oldest first; none where the catalog does not know it."""
    return [Item(**dict(row)) for row in await pool.fetch(_SQL["versions_of"], code)]


async def items_until(pool: asyncpg.Pool[asyncpg.Record], codes: Sequence[str], day: dt.date) -> Catalog:
    """What the catalog says of these items up to a day; those that it does not know are left out."""
    return Catalog(Item(**dict(row)) for row in await pool.fetch(_SQL["items_until"], codes, day))


async def export_catalog(pool: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[str]:
    """The lines of a CSV file that an import would find nothing new in, header first, by code and first day."""
    yield _line(COLUMNS)
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await plan_freely(connection)
        async for row in connection.cursor(_SQL["everything"], prefetch=_CHUNK):
            item = Item(**dict(row))
            yield _line(
                (
                    item.code,
                    item.name,
                    item.category,
                    f"{item.share // WHOLE}.{item.share % WHOLE:04d}" if item.category == "B" else "",
                    "" if item.ceiling_fen is None else f"{item.ceiling_fen // 100}.{item.ceiling_fen % 100:02d}",
                    item.valid_from.isoformat(),
                    "" if item.valid_to is None else item.valid_to.isoformat(),
                )
            )


def _line(fields: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()
