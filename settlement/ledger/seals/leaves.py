"""The stored hashes of one table in some seals, each seal's in the order of its rows, a chunk in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence

from settlement.db.pool import Connection
from settlement.ledger.seals.merkle import HASH_BYTES, Tree
from settlement.ledger.seals.tables import SQL


class LeafStream:
    """Walks over what one seal stores of one table, and builds the root of what it passes."""

    def __init__(self, connection: Connection, seal_no: int, table_name: str) -> None:
        self.seal_no = seal_no
        self.tree = Tree()
        self._connection = connection
        self._table_name = table_name
        self._chunk_no = 0
        self._keys: Sequence[str] = ()
        self._hashes = b""
        self._place = 0

    def begin(self, keys: Sequence[str], hashes: bytes) -> None:
        """Give it its first chunk, read together with those of other seals."""
        self._keys, self._hashes, self._chunk_no = keys, hashes, 1

    @property
    def key(self) -> str | None:
        """The key of the row whose hash comes next; None at the end."""
        return self._keys[self._place] if self._place < len(self._keys) else None

    async def take(self) -> bytes:
        """The next hash; moves on."""
        leaf = self._hashes[self._place * HASH_BYTES : (self._place + 1) * HASH_BYTES]
        self.tree.add(leaf)
        self._place += 1
        if self._place == len(self._keys):
            row = await self._connection.fetchrow(SQL["leaves"], self.seal_no, self._table_name, self._chunk_no)
            self._keys, self._hashes = (row["row_keys"], row["hashes"]) if row else ((), b"")
            self._place = 0
            self._chunk_no += 1
        return leaf


async def open_streams(connection: Connection, seal_nos: Sequence[int], table_name: str) -> dict[int, LeafStream]:
    """A stream for each of some seals that follow each other, begun with one round trip."""
    streams = {seal_no: LeafStream(connection, seal_no, table_name) for seal_no in seal_nos}
    for row in await connection.fetch(SQL["first_leaves"], seal_nos[0], seal_nos[-1], table_name):
        if row["seal_no"] in streams:
            streams[row["seal_no"]].begin(row["row_keys"], row["hashes"])
    return streams
