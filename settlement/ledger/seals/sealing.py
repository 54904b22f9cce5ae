"""Making a seal: everything committed and not sealed yet, in one transaction that reads one snapshot."""

from __future__ import annotations

import datetime as dt

import asyncpg

from settlement.clock import Clock
from settlement.db.pool import Connection
from settlement.ledger.seals.merkle import Tree, leaf_hash
from settlement.ledger.seals.reading import read_seal
from settlement.ledger.seals.seal import BEFORE_THE_FIRST, SIGNER_ID, Seal, SealError, Statement, TableSeal
from settlement.ledger.seals.snapshot import NOTHING, Snapshot
from settlement.ledger.seals.tables import SEALED_TABLES, SQL, SealedTable, count_of, window, window_of
from settlement.security.seal_key import SealKey

LOCK_KEY = 0x5E771E_0002
"""The advisory lock under which a seal is made: whoever comes second leaves it to the first."""
CHUNK_ROWS = 512
"""Rows hashed at a stretch (some 4 ms), and kept as one row of ``seal_leaf``."""
SESSION = "set local statement_timeout = 0; set local timezone = 'UTC'"
"""How a transaction is set up that reads rows to hash: moments in them are written in UTC."""


class Sealer:
    """Seals what is new, and remembers its last seal: it goes on only while the database still holds that one.

    ``key``: who signs. Nothing here reads a clock but ``clock``.
    """

    def __init__(self, pool: asyncpg.Pool, key: SealKey, clock: Clock) -> None:
        self._pool = pool
        self._key = key
        self._clock = clock
        self.last: Seal | None = None
        """The newest seal that was seen."""

    async def seal(self, *, not_within_s: float = 0, rest: float = 0) -> Seal | None:
        """Seal every row that is committed now and in no seal yet.

        ``rest``: how many times as long as it works it pauses in between, to leave the processors to those who settle.
        None: nothing is new, another worker is sealing just now, or the last seal is younger than ``not_within_s``.
        Raises ``SealError``.
        """
        try:
            async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                if not await connection.fetchval("select pg_try_advisory_xact_lock($1)", LOCK_KEY):
                    return None
                await connection.execute(SESSION)
                made = await self._seal(connection, not_within_s, rest)
        except asyncpg.UniqueViolationError:
            # Another worker ended its seal between our snapshot and our lock: the number is taken, and so are the rows.
            return None
        self.last = made or self.last
        return made

    async def unsealed(self) -> int:
        """How many rows are committed and in no seal yet."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            before = await self._newest(connection)
            upto = Snapshot.parse(await connection.fetchval(SQL["snapshot"]))
            return await count_rows(connection, before.statement.snapshot if before else NOTHING, upto)

    async def _seal(self, connection: Connection, not_within_s: float, rest: float) -> Seal | None:
        now = self._clock.now()
        before = await self._newest(connection)
        if before is not None and now - before.statement.signed_at < dt.timedelta(seconds=not_within_s):
            return None
        text = await connection.fetchval(SQL["snapshot"])
        upto = Snapshot.parse(text)
        since = before.statement.snapshot if before else NOTHING
        if upto.xmax < since.xmax:
            raise SealError(
                f"transactions are numbered from {upto.xmax} here, and the last seal reaches to {since.xmax}: these "
                "books were moved to another database cluster; docs/explanation/seals.md says how to go on"
            )
        seal_no = before.statement.seal_no + 1 if before else 1
        tables = {}
        for table in SEALED_TABLES:
            tree = await self._store_leaves(connection, seal_no, table, window(since, upto), rest)
            if tree.size:
                tables[table.name] = TableSeal(table.version, tree.size, tree.root())
        if not tables:
            return None
        statement = Statement(
            seal_no=seal_no,
            previous_digest=before.digest if before else BEFORE_THE_FIRST,
            snapshot=upto,
            snapshot_text=text,
            tables=tables,
            signed_at=now,
            signer=self._key.signer,
        )
        seal = Seal(statement, self._key.private.sign(statement.to_be_signed(), SIGNER_ID))
        await connection.execute(SQL["add_seal"], *_row_of(seal))
        return seal

    async def _store_leaves(
        self, connection: Connection, seal_no: int, table: SealedTable, parameters: tuple[object, ...], rest: float
    ) -> Tree:
        tree = Tree()
        cursor = await connection.cursor(window_of(table), *parameters)
        chunk_no, began = 0, self._clock.monotonic()
        while rows := await cursor.fetch(CHUNK_ROWS):
            hashes = bytearray()
            for row in rows:
                leaf = leaf_hash(row["content"].encode())
                tree.add(leaf)
                hashes += leaf
            await connection.execute(
                SQL["add_leaves"], seal_no, table.name, chunk_no, [row["row_key"] for row in rows], bytes(hashes)
            )
            chunk_no += 1
            if rest and len(rows) == CHUNK_ROWS:
                await self._clock.sleep(rest * (self._clock.monotonic() - began))
                began = self._clock.monotonic()
        return tree

    async def _newest(self, connection: Connection) -> Seal | None:
        """The last seal that stands. Raises ``SealError`` when the one this process knows is not there any more."""
        if self.last is not None:
            known = await connection.fetchrow(SQL["one_seal"], self.last.statement.seal_no)
            if known is None or read_seal(known).digest != self.last.digest:
                raise SealError(
                    f"seal {self.last.label} stood in the database and is gone: `settlement verify` and backup"
                )
        row = await connection.fetchrow(SQL["last_seal"])
        self.last = None if row is None else read_seal(row)
        return self.last


async def count_rows(connection: Connection, before: Snapshot, upto: Snapshot) -> int:
    """How many rows of all sealed tables ``upto`` sees and ``before`` does not."""
    counts = [await connection.fetchval(count_of(table), *window(before, upto)) for table in SEALED_TABLES]
    return sum(counts)


def _row_of(seal: Seal) -> tuple[object, ...]:
    said = seal.statement
    tables = {name: [each.version, each.rows, each.root.hex()] for name, each in said.tables.items()}
    return (
        said.seal_no,
        said.previous_digest,
        said.snapshot_text,
        tables,
        said.root,
        said.signed_at,
        said.signer,
        seal.signature,
    )
