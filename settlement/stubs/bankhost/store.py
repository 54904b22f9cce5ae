"""The durable books of one bank in SQLite: rows in, rows out; what is allowed is decided in ``books``."""

from __future__ import annotations

import datetime as dt
import sqlite3
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from settlement.stubs.bankhost.wire import (
    DEFAULT_DAILY_COUNT_LIMIT,
    DEFAULT_DAILY_LIMIT_FEN,
    DEFAULT_NO_PIN_LIMIT_FEN,
    DEFAULT_TRANSACTION_LIMIT_FEN,
    AccountSpec,
)


class IdentityKey(NamedTuple):
    """Fields 41, 7, 11, 37; the bank is the store."""

    terminal_id: str
    transmitted: str
    trace: str
    reference: str


class AccountRow(NamedTuple):
    """A row of ``account``, in the order of its columns."""

    pan: str
    state: str
    balance_fen: int
    transaction_limit_fen: int
    daily_limit_fen: int
    daily_count_limit: int
    no_pin_limit_fen: int
    pin_check: bytes | None
    pin_failures: int


class OperationRow(NamedTuple):
    """What the rules need of an earlier operation."""

    id: int
    institution_id: str
    pan: str
    amount_fen: int
    moved_fen: int
    original_id: int | None
    response_code: str
    authorisation: str | None
    settlement_date: dt.date


class NewOperation(NamedTuple):
    """An operation to record."""

    kind: str
    identity: IdentityKey
    institution_id: str
    pan: str
    amount_fen: int
    moved_fen: int
    original_id: int | None
    response_code: str
    authorisation: str | None
    settlement_date: dt.date


_FIND = """SELECT id, institution_id, pan, amount_fen, moved_fen, original_id, response_code, authorisation,
                  settlement_date
           FROM operation
           WHERE kind = ? AND terminal_id = ? AND transmitted = ? AND trace = ? AND reference = ?"""


class Store:
    """One connection to one bank's database; used by one thread. Commits are the caller's (see ``worker``)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            # A commit is on the disk before anybody hears of it; WAL makes that one fsync.
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.executescript(resources.files(__package__).joinpath("schema.sql").read_text("utf-8"))
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def meta(self, key: str) -> str | None:
        """A remembered value."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Remember a value."""
        self.connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    # ---- accounts -------------------------------------------------------------------------------------------------

    def account(self, pan: str) -> AccountRow | None:
        """The account of this number."""
        row = self.connection.execute(
            """SELECT pan, state, balance_fen, transaction_limit_fen, daily_limit_fen, daily_count_limit,
                      no_pin_limit_fen, pin_check, pin_failures
               FROM account WHERE pan = ?""",
            (pan,),
        ).fetchone()
        return None if row is None else AccountRow(*row)

    def put_account(self, spec: AccountSpec, pin_check: bytes | None, now: dt.datetime) -> None:
        """Open or change an account; the balance is set by booking the difference."""
        self.connection.execute(
            "INSERT OR IGNORE INTO account VALUES (?, 'active', 0, ?, ?, ?, ?, NULL, 0)",
            (
                spec.pan,
                DEFAULT_TRANSACTION_LIMIT_FEN,
                DEFAULT_DAILY_LIMIT_FEN,
                DEFAULT_DAILY_COUNT_LIMIT,
                DEFAULT_NO_PIN_LIMIT_FEN,
            ),
        )
        self.connection.execute(
            """UPDATE account SET state = coalesce(?, state),
                   transaction_limit_fen = coalesce(?, transaction_limit_fen),
                   daily_limit_fen = coalesce(?, daily_limit_fen),
                   daily_count_limit = coalesce(?, daily_count_limit),
                   no_pin_limit_fen = coalesce(?, no_pin_limit_fen),
                   pin_failures = CASE WHEN ? IS NULL THEN pin_failures ELSE 0 END,
                   pin_check = coalesce(?, pin_check)
               WHERE pan = ?""",
            (
                spec.state,
                spec.transaction_limit_fen,
                spec.daily_limit_fen,
                spec.daily_count_limit,
                spec.no_pin_limit_fen,
                pin_check,
                pin_check,
                spec.pan,
            ),
        )
        if spec.balance_fen is not None:
            account = self.account(spec.pan)
            if account is not None and account.balance_fen != spec.balance_fen:
                self.move(spec.pan, spec.balance_fen - account.balance_fen, None, now)

    def set_pin_failures(self, pan: str, failures: int) -> None:
        """Count wrong PIN tries."""
        self.connection.execute("UPDATE account SET pin_failures = ? WHERE pan = ?", (failures, pan))

    def move(self, pan: str, amount_fen: int, operation_id: int | None, now: dt.datetime) -> None:
        """Book on an account (negative: take). Raises ``sqlite3.IntegrityError`` rather than overdraw."""
        self.connection.execute("UPDATE account SET balance_fen = balance_fen + ? WHERE pan = ?", (amount_fen, pan))
        self.connection.execute(
            "INSERT INTO entry (operation_id, pan, amount_fen, recorded_at) VALUES (?, ?, ?, ?)",
            (operation_id, pan, amount_fen, now.isoformat()),
        )

    def day_totals(self, pan: str, date: dt.date) -> tuple[int, int]:
        """Sum (fen) and number of the debits of a business day that were not voided or reversed."""
        row = self.connection.execute(
            "SELECT total_fen, debits FROM day_total WHERE pan = ? AND settlement_date = ?", (pan, date.isoformat())
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def count_day(self, pan: str, date: dt.date, amount_fen: int, debits: int) -> None:
        """Count a debit of a day, or (both negative) one that was undone."""
        self.connection.execute(
            """INSERT INTO day_total VALUES (?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET total_fen = total_fen + excluded.total_fen,
                   debits = debits + excluded.debits""",
            (pan, date.isoformat(), amount_fen, debits),
        )

    # ---- operations -----------------------------------------------------------------------------------------------

    def operation(self, kind: str, identity: IdentityKey) -> OperationRow | None:
        """The operation of this kind and identity."""
        row = self.connection.execute(_FIND, (kind, *identity)).fetchone()
        return None if row is None else OperationRow._make((*row[:-1], dt.date.fromisoformat(row[-1])))

    def add_operation(self, new: NewOperation, now: dt.datetime) -> int:
        """Record an operation; its number."""
        cursor = self.connection.execute(
            """INSERT INTO operation (kind, terminal_id, transmitted, trace, reference, institution_id, pan, amount_fen,
                   moved_fen, original_id, response_code, authorisation, settlement_date, recorded_at)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                new.kind,
                *new.identity,
                new.institution_id,
                new.pan,
                new.amount_fen,
                new.moved_fen,
                new.original_id,
                new.response_code,
                new.authorisation,
                new.settlement_date.isoformat(),
                now.isoformat(),
            ),
        )
        return int(cursor.lastrowid or 0)

    def undone_by(self, operation_id: int) -> str | None:
        """``void`` or ``reversal`` when that gave the debit back whole."""
        row = self.connection.execute(
            "SELECT kind FROM operation WHERE original_id = ? AND kind IN ('void', 'reversal') AND moved_fen > 0",
            (operation_id,),
        ).fetchone()
        return None if row is None else str(row[0])

    def refunded_fen(self, operation_id: int) -> int:
        """What refunds have given back of a debit."""
        row = self.connection.execute(
            "SELECT coalesce(sum(moved_fen), 0) FROM operation WHERE original_id = ? AND kind = 'refund'",
            (operation_id,),
        ).fetchone()
        return int(row[0])

    def has_tombstone(self, identity: IdentityKey) -> bool:
        """Whether a reversal of this debit came before it."""
        return (
            self.connection.execute(
                "SELECT 1 FROM tombstone WHERE terminal_id = ? AND transmitted = ? AND trace = ? AND reference = ?",
                identity,
            ).fetchone()
            is not None
        )

    def add_tombstone(self, identity: IdentityKey, now: dt.datetime) -> None:
        """Refuse this debit for ever."""
        self.connection.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?, ?, ?)", (*identity, now.isoformat()))
