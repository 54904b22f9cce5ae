"""The journal's tables, how they are made durable, and how the file of an older kit becomes one of this kit."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import msgspec

from terminal_sdk.errors import JournalError
from terminal_sdk.journal.files import create_private
from terminal_sdk.journal.seal import Seal

_VERSION = 2
_BUSY_TIMEOUT_MS = 5_000
_SYNCHRONOUS_FULL = 2
_TABLES = """
create table attempt (
    number          integer primary key autoincrement,  -- the order of writing: a till's clock may jump
    idempotency_key text not null unique,
    operation       text not null check (operation in ('settlement', 'reversal', 'refund')),
    state           text not null check (state in ('prepared', 'sent', 'answered')),
    path            text not null,
    session_id      text not null,  -- whose PIN key the PIN block in the request is under
    bill            text not null,  -- the settlement's key, or its identifier where this till does not know the key
    request_sealed  blob not null,
    prepared_at     text not null,
    sent_at         text,
    settlement_id   text,
    outcome         text check (outcome in ('settlement', 'reversal', 'refund', 'refusal', 'never_sent')),
    answer_sealed   blob,
    answered_at     text,
    handed_out_at   text,           -- the outcome was told and its receipt printed
    given_up        integer not null default 0 check (given_up in (0, 1)),
    tries           integer not null default 0,
    last_error      text,
    tried_at        text,
    next_try_at     text,
    check ((state = 'answered') = (outcome is not null and answered_at is not null)),
    check (handed_out_at is null or state = 'answered')
);
create index attempt_open on attempt (number) where state <> 'answered';
create index attempt_not_handed_out on attempt (number) where state = 'answered' and handed_out_at is null;
create index attempt_bill on attempt (bill);
create index attempt_settlement on attempt (settlement_id) where settlement_id is not null;
-- Which bill lines an open settlement holds: a second attempt for one of them is refused here, before it is sent.
create table open_line (
    mark            blob primary key,
    idempotency_key text not null references attempt (idempotency_key)
) without rowid;
create index open_line_of on open_line (idempotency_key);
"""
_OF_SETTLEMENT = re.compile(r"/v1/settlements/([^/]+)/reversal")


def open_database(path: Path, terminal_id: str, seal: Seal) -> sqlite3.Connection:
    """The journal's database, made or brought up to date. Raises ``JournalError``, ``sqlite3.Error``."""
    create_private(path)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"pragma busy_timeout = {_BUSY_TIMEOUT_MS}")
        _make_durable(db, path)
        _claim(db, path, terminal_id, seal)
    except BaseException:
        db.close()
        raise
    return db


def _make_durable(db: sqlite3.Connection, path: Path) -> None:
    (mode,) = db.execute("pragma journal_mode = wal").fetchone()
    # In WAL mode FULL is what syncs each commit; a weaker setting would lose the last keys with the power.
    db.execute("pragma synchronous = full")
    db.execute("pragma fullfsync = on")
    db.execute("pragma secure_delete = on")
    db.execute("pragma foreign_keys = on")
    (level,) = db.execute("pragma synchronous").fetchone()
    if mode != "wal" or level != _SYNCHRONOUS_FULL:
        raise JournalError(f"{path}: the file system cannot hold a durable journal (mode {mode})")


def _claim(db: sqlite3.Connection, path: Path, terminal_id: str, seal: Seal) -> None:
    db.execute("begin immediate")
    (version,) = db.execute("pragma user_version").fetchone()
    if version == 0:
        db.execute("create table owner (terminal_id text not null)")
        db.execute("insert into owner values (?)", (terminal_id,))
        _make_tables(db)
    elif version not in (1, _VERSION):
        raise JournalError(f"{path}: journal version {version} is not known here")
    (owner,) = db.execute("select terminal_id from owner").fetchone()
    if owner != terminal_id:
        raise JournalError(f"{path}: the journal belongs to terminal {owner}")
    if version == 1:
        _from_version_1(db, seal)
    db.execute(f"pragma user_version = {_VERSION}")
    db.execute("commit")


def _make_tables(db: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";\n"):
        db.execute(statement)


def _from_version_1(db: sqlite3.Connection, seal: Seal) -> None:
    """All in the transaction that the caller began, so that a power cut leaves the one version or the other.

    Version 1 did not know what was handed out: what had been answered is taken as told and printed.
    """
    rows = db.execute(
        "select idempotency_key, operation, state, path, session_id, request_sealed, prepared_at, sent_at,"
        " settlement_id, outcome, answer_sealed, answered_at from attempt order by prepared_at, idempotency_key"
    ).fetchall()
    lines = db.execute("select mark, idempotency_key from open_line").fetchall()
    key_of = {row[8]: row[0] for row in rows if row[1] == "settlement" and row[8] is not None}
    db.execute("drop table open_line")
    db.execute("drop table attempt")
    _make_tables(db)
    db.executemany(
        "insert into attempt (idempotency_key, operation, state, path, session_id, request_sealed, prepared_at,"
        " sent_at, settlement_id, outcome, answer_sealed, answered_at, handed_out_at, bill)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(*row, row[11], _bill_of(row, key_of, seal)) for row in rows],
    )
    db.executemany("insert into open_line values (?, ?)", lines)


class _Original(msgspec.Struct, frozen=True, kw_only=True):
    original_idempotency_key: str


def _bill_of(row: tuple[object, ...], key_of: dict[str, str], seal: Seal) -> str:
    key, operation, path, request = str(row[0]), row[1], str(row[3]), row[5]
    if operation == "settlement":
        return key
    if named := _OF_SETTLEMENT.fullmatch(path):
        return key_of.get(named[1], named[1])
    try:
        return msgspec.json.decode(
            seal.unsealed(request, key, "request") or b"", type=_Original
        ).original_idempotency_key
    except msgspec.DecodeError:
        return key  # unreadable under this terminal key: a bill of its own
