"""Which tables are sealed, by which columns, and how the rows of a window between two snapshots are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from settlement.db.queries import load_queries
from settlement.ledger.seals.snapshot import Snapshot

SQL = load_queries("settlement.ledger", "sql/seals.sql")


@dataclass(frozen=True, slots=True)
class SealedTable:
    """One table in one version of its sealed columns.

    A table that gets a column later gets a new version; what was sealed under the old one is still read by it.
    """

    name: str
    version: int
    key: tuple[str, ...]
    """The columns of which ``row_key`` is made, with slashes between."""

    @property
    def rows(self) -> str:
        """The statement that gives tx, happened_at, row_key and content of every row."""
        return SQL[f"{self.name}_v{self.version}"]

    def describe(self, row_key: str) -> str:
        """A row for people: ``transfer person_id=1 posting_date=2026-11-24 …``."""
        named = zip(self.key, row_key.split("/", len(self.key) - 1), strict=False)
        return " ".join([self.name, *(f"{column}={value}" for column, value in named)])


_SAGA = ("person_id", "acceptance_date", "saga_id")
_SETTLEMENT = ("person_id", "acceptance_date", "settlement_id")
_UNDO = ("person_id", "acceptance_date", "undo_id")

SEALED_TABLES = (
    SealedTable("account_credit", 1, ("person_id", "credit_id")),
    SealedTable("account_year", 1, ("person_id", "insurance_year")),
    SealedTable("account_year_sweep", 1, ("person_id", "insurance_year", "sweep_id")),
    SealedTable("accumulator_move", 1, (*_SAGA, "cause", "plan", "insurance_year", "counter")),
    SealedTable("hold", 1, (*_SAGA, "account")),
    SealedTable("hold_end", 1, (*_SAGA, "account")),
    SealedTable("leg", 1, (*_SAGA, "leg")),
    SealedTable("leg_move", 1, (*_SAGA, "leg", "move_no")),
    SealedTable("outbox_event", 1, (*_SAGA, "event")),
    SealedTable("receipt", 1, _SAGA),
    SealedTable("settlement", 2, _SETTLEMENT),
    SealedTable("settlement_bill", 2, _SETTLEMENT),
    SealedTable("transfer", 1, ("person_id", "posting_date", "saga_id", "part")),
    SealedTable("undo", 2, _UNDO),
    SealedTable("undo_line", 1, ("person_id", "acceptance_date", "undo_id", "line_no", "payer")),
)
"""What is sealed now, in the order of the names, in which a seal's root takes them."""

_FORMER = (
    SealedTable("settlement", 1, _SETTLEMENT),
    SealedTable("settlement_bill", 1, _SETTLEMENT),
    SealedTable("undo", 1, _UNDO),
)

READABLE: Mapping[tuple[str, int], SealedTable] = MappingProxyType(
    {(table.name, table.version): table for table in (*SEALED_TABLES, *_FORMER)}
)
"""Every version that was ever sealed."""


def window_of(table: SealedTable) -> str:
    """The rows that one snapshot sees and an earlier one does not, in the order of their keys.

    Parameters: see ``window``. The first condition is for the index; the others are exact.
    """
    return (
        f"select r.tx, r.happened_at, r.row_key, r.content from ({table.rows}) r where {_IN_WINDOW} "  # noqa: S608 - our own statements
        'order by r.row_key collate "C"'
    )


def count_of(table: SealedTable) -> str:
    """How many rows such a window has. Parameters: see ``window``."""
    return f"select count(*) from {table.name} r where {_IN_WINDOW}"  # noqa: S608 - our own names


def suspects_of(table: SealedTable) -> str:
    """Rows after a snapshot whose transaction was never given, or that say they are too old; 50 at most.

    ``$1`` to ``$3``: the snapshot, see ``window``; ``$4``: the first transaction not given; ``$5``: the oldest moment.
    """
    return (
        f"select r.tx, r.happened_at, r.row_key from ({table.rows}) r "  # noqa: S608 - our own statements
        "where r.tx >= $1 and (r.tx >= $2 or r.tx = any ($3::bigint[])) and (r.tx >= $4 or r.happened_at < $5) limit 50"
    )


_IN_WINDOW = "r.tx >= $1 and (r.tx >= $2 or r.tx = any ($3::bigint[])) and r.tx < $4 and r.tx <> all ($5::bigint[])"


def window(before: Snapshot, upto: Snapshot) -> tuple[int, int, list[int], int, list[int]]:
    """The parameters of a window: what ``upto`` sees and ``before`` does not."""
    return before.xmin, before.xmax, sorted(before.running), upto.xmax, sorted(upto.running)
