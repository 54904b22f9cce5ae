"""The rows of one table against the hashes that some seals hold of them, side by side in the order of their keys."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from settlement.db.pool import Connection
from settlement.ledger.records import Row
from settlement.ledger.seals.findings import Findings
from settlement.ledger.seals.leaves import LeafStream, open_streams
from settlement.ledger.seals.merkle import leaf_hash
from settlement.ledger.seals.seal import Seal
from settlement.ledger.seals.snapshot import Snapshot
from settlement.ledger.seals.tables import SealedTable, window, window_of

BACKDATED_AFTER = dt.timedelta(hours=1)
"""How much older than the seal before its own a row may say it is: from the service's clock to the row's commit."""
_ROWS_AT_A_TIME = 512


@dataclass(frozen=True, slots=True)
class Link:
    """A seal in its place in the chain.

    ``since``: what the seal before it saw; ``since_signed_at``: when that was signed, None before the first.
    ``doubtful``: seals before it are missing. Then a row that it does not hold may have been in one of them: such rows
    are counted instead of named.
    """

    seal: Seal
    since: Snapshot
    since_signed_at: dt.datetime | None
    doubtful: bool

    @property
    def seal_no(self) -> int:
        """Its number."""
        return self.seal.statement.seal_no


class TableComparison:
    """Compares one table with seals that follow each other; their table has one version of its columns."""

    def __init__(self, table: SealedTable, links: Sequence[Link], findings: Findings) -> None:
        self._table = table
        self._links = links
        self._findings = findings
        self._ends = [link.seal.statement.snapshot.xmax for link in links]
        self._streams: dict[int, LeafStream] = {}
        self._unmatched: dict[int, int] = {}

    async def run(self, connection: Connection) -> None:
        """Read rows and hashes once, in order. Memory: a chunk of rows, and a chunk of hashes for each seal."""
        self._streams = await open_streams(connection, [link.seal_no for link in self._links], self._table.name)
        reach = window(self._links[0].since, self._links[-1].seal.statement.snapshot)
        cursor = await connection.cursor(window_of(self._table), *reach)
        while rows := await cursor.fetch(_ROWS_AT_A_TIME):
            for row in rows:
                await self._compare(row, self._link_of(row["tx"]))
        for link in self._links:
            await self._end(link)

    def _link_of(self, tx: int) -> Link:
        """The first seal that sees a transaction: a late one is not in the first that it could have been in."""
        place = bisect.bisect_right(self._ends, tx)
        while not self._links[place].seal.statement.snapshot.sees(tx):
            place += 1
        return self._links[place]

    async def _compare(self, row: Row, link: Link) -> None:
        stream = self._streams[link.seal_no]
        key = row["row_key"]
        await self._removed_before(link, stream, key)
        if stream.key != key:
            self._not_held(row, link)
        elif await stream.take() != leaf_hash(row["content"].encode()):
            self._findings.add(f"{self._table.describe(key)} was changed after seal {link.seal_no}")
        elif _backdated(row["happened_at"], link.since_signed_at):
            self._findings.add(
                f"{self._table.describe(key)} was inserted later than it says: of {row['happened_at']:{_MOMENT}}, "
                f"and not in seal {link.seal_no - 1} of {link.since_signed_at:{_MOMENT}}"
            )

    async def _removed_before(self, link: Link, stream: LeafStream, key: str | None) -> None:
        """Every hash before this key (None: every hash that is left) has lost its row."""
        while stream.key is not None and (key is None or stream.key < key):
            self._findings.add(f"{self._table.describe(stream.key)} was removed after seal {link.seal_no}")
            await stream.take()

    def _not_held(self, row: Row, link: Link) -> None:
        if link.doubtful:
            self._unmatched[link.seal_no] = self._unmatched.get(link.seal_no, 0) + 1
            return
        self._findings.add(
            f"{self._table.describe(row['row_key'])} was inserted: by its transaction seal {link.seal_no} would hold it"
        )

    async def _end(self, link: Link) -> None:
        stream = self._streams[link.seal_no]
        await self._removed_before(link, stream, None)
        if unmatched := self._unmatched.get(link.seal_no):
            self._findings.add(
                f"{self._table.name}: {unmatched} rows up to seal {link.seal_no} are in no seal that stands"
            )
        said = link.seal.statement.tables.get(self._table.name)
        if (said.rows, said.root) != (stream.tree.size, stream.tree.root()) if said else stream.tree.size:
            self._findings.add(
                f"{self._table.name}: the hashes stored for seal {link.seal_no} are not those that were signed "
                f"({stream.tree.size} stored, {said.rows if said else 0} signed)"
            )


_MOMENT = "%Y-%m-%d %H:%M:%SZ"


def _backdated(happened_at: dt.datetime | None, before: dt.datetime | None) -> bool:
    return happened_at is not None and before is not None and happened_at < before - BACKDATED_AFTER
