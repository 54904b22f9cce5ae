"""One seal: what it states, the bytes that are signed, and what links it to the one before."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass

from settlement.ledger.records import Row
from settlement.ledger.seals.merkle import HASH_BYTES, leaf_hash, root_of
from settlement.ledger.seals.snapshot import Snapshot
from terminal_sdk.crypto import Sm2PublicKey, sm3

SIGNER_ID = b"settlement seal"
"""The identity under which a seal is signed (SM2, GB/T 32918.2): no signature made for another purpose passes."""
BEFORE_THE_FIRST = bytes(HASH_BYTES)
"""What the first seal names as the digest of its predecessor."""


class SealError(Exception):
    """The chain cannot be read, or nothing can be sealed on what stands; the message says why. Nothing was written."""


@dataclass(frozen=True, slots=True)
class TableSeal:
    """What a seal says of one table: the version of its columns, how many rows, the root of their hashes."""

    version: int
    rows: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a seal states. ``tables`` in the order of their names, without those that have no new rows."""

    seal_no: int
    previous_digest: bytes
    snapshot: Snapshot
    snapshot_text: str
    tables: Mapping[str, TableSeal]
    signed_at: dt.datetime
    signer: str
    """The fingerprint (SM3, hex) of the signer's certificate."""

    @property
    def rows(self) -> int:
        """How many rows it holds in all."""
        return sum(table.rows for table in self.tables.values())

    @property
    def root(self) -> bytes:
        """The root over the tables: a leaf for each, of its name, version, rows and root."""
        return root_of(
            leaf_hash(_canonical([name, each.version, each.rows, each.root.hex()]))
            for name, each in self.tables.items()
        )

    def to_be_signed(self) -> bytes:
        """The statement as JSON without blanks, keys in this order; hashes in lower-case hex, the moment in UTC."""
        return _canonical(
            {
                "seal": self.seal_no,
                "previous": self.previous_digest.hex(),
                "snapshot": self.snapshot_text,
                "tables": {name: [each.version, each.rows, each.root.hex()] for name, each in self.tables.items()},
                "root": self.root.hex(),
                "signed_at": self.signed_at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
                "signer": self.signer,
            }
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """A statement with its signature (SM2, 64 bytes r‖s)."""

    statement: Statement
    signature: bytes

    @property
    def digest(self) -> bytes:
        """What the next seal names: SM3 over statement and signature, 32 bytes."""
        return sm3(self.statement.to_be_signed() + self.signature)

    @property
    def label(self) -> str:
        """``NUMBER:DIGEST``, to be kept outside and given to ``settlement verify --expect-seal``."""
        return f"{self.statement.seal_no}:{self.digest.hex()}"

    def check_signature(self, key: Sm2PublicKey) -> None:
        """Raises ``SignatureInvalid``."""
        key.verify(self.statement.to_be_signed(), self.signature, SIGNER_ID)


def seal_of(row: Row) -> Seal:
    """A seal from its row. ``ValueError`` when the row says what no seal says."""
    tables = {}
    for name, (version, rows, root) in sorted(row["tables"].items()):
        if not (
            isinstance(version, int) and isinstance(rows, int) and rows > 0 and len(bytes.fromhex(root)) == HASH_BYTES
        ):
            raise ValueError(f"not a table's seal: {name}")
        tables[name] = TableSeal(version, rows, bytes.fromhex(root))
    statement = Statement(
        seal_no=row["seal_no"],
        previous_digest=row["previous_digest"],
        snapshot=Snapshot.parse(row["snapshot"]),
        snapshot_text=row["snapshot"],
        tables=tables,
        signed_at=row["signed_at"],
        signer=row["signer"],
    )
    if statement.root != row["root"]:
        raise ValueError("its root is not that of its tables")
    return Seal(statement, row["signature"])


def _canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
