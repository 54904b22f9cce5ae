"""The till's durable memory: each idempotency key and its whole request are on the disk before the first byte is sent.

One SQLite file. Requests and answers are enciphered (SM4-GCM) under a key derived from the terminal's private key; in
clear stand only keys, states, times and the service's own identifiers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from terminal_sdk.crypto import CryptoError, Sm2PrivateKey, derive_key, hmac_sm3, sm4_gcm_decrypt, sm4_gcm_encrypt
from terminal_sdk.errors import AttemptStillOpen, JournalError, JournalUnreadable, KeyReused

Operation = Literal["settlement", "reversal"]
State = Literal["prepared", "sent", "answered"]
Outcome = Literal["settlement", "reversal", "refusal", "never_sent"]
"""What ended an attempt: an answer of the service of that kind, or that its first byte never left."""

_SCHEMA_VERSION = 1
_NONCE_BYTES = 12
_BUSY_TIMEOUT_MS = 5_000
_SYNCHRONOUS_FULL = 2
_SELECT = (
    "select idempotency_key, operation, state, path, session_id, prepared_at, settlement_id, outcome,"
    " request_sealed, answer_sealed from attempt "
)
_SCHEMA = """
create table owner (terminal_id text not null);
create table attempt (
    idempotency_key text primary key,
    operation       text not null check (operation in ('settlement', 'reversal')),
    state           text not null check (state in ('prepared', 'sent', 'answered')),
    path            text not null,
    session_id      text not null,  -- whose PIN key the PIN block in the request is under
    request_sealed  blob not null,
    prepared_at     text not null,
    sent_at         text,
    settlement_id   text,
    outcome         text check (outcome in ('settlement', 'reversal', 'refusal', 'never_sent')),
    answer_sealed   blob,
    answered_at     text,
    check ((state = 'answered') = (outcome is not null and answered_at is not null))
) without rowid;
create index attempt_open on attempt (prepared_at) where state <> 'answered';
-- Which bill lines an open settlement holds: a second attempt for one of them is refused here, before it is sent.
create table open_line (
    mark            blob primary key,
    idempotency_key text not null references attempt
) without rowid;
create index open_line_of on open_line (idempotency_key);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One attempt. ``request`` and ``answer`` are wire bodies in clear, None where they cannot be deciphered."""

    idempotency_key: str
    operation: Operation
    state: State
    path: str
    session_id: str
    prepared_at: dt.datetime
    settlement_id: str | None
    outcome: Outcome | None
    request: bytes | None = field(repr=False)
    answer: bytes | None = field(repr=False)


class Journal:
    """Opens (and makes) the journal of one terminal. Calls block until the disk has it; safe from any thread.

    ``keep_days``: answered attempts are forgotten after so long. Raises ``JournalError`` if the file belongs to another
    terminal or its disk cannot give the durability that is promised here.
    """

    def __init__(self, path: str | Path, *, terminal_id: str, key: Sm2PrivateKey, keep_days: int = 35) -> None:
        self.path = Path(path)
        secret = key.to_bytes()
        self._cipher_key = derive_key(secret, "terminal-journal-cipher-1", 16)
        self._mark_key = derive_key(secret, "terminal-journal-mark-1", 32)
        self._lock = threading.Lock()
        with _sqlite_errors("open"):
            self._db = self._open(terminal_id)
        self._forget_before(dt.datetime.now(dt.UTC) - dt.timedelta(days=keep_days))

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the file; harmless when closed already."""
        with self._lock:
            self._db.close()

    def prepare(
        self,
        key: str,
        operation: Operation,
        path: str,
        request: bytes,
        *,
        session_id: str,
        at: dt.datetime,
        lines: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Write a new attempt; when this returns it is on the disk. ``lines``: (visit, line) pairs it claims.

        Raises ``KeyReused``, ``AttemptStillOpen``, ``JournalError``.
        """
        marks = [(self._mark(visit_no, line_no), key) for visit_no, line_no in lines]
        with self._transaction() as db:
            if db.execute("select 1 from attempt where idempotency_key = ?", (key,)).fetchone():
                raise KeyReused(key)
            for mark, _ in marks:
                holder = db.execute("select idempotency_key from open_line where mark = ?", (mark,)).fetchone()
                if holder:
                    raise AttemptStillOpen(holder[0])
            db.execute(
                "insert into attempt (idempotency_key, operation, state, path, session_id, request_sealed, prepared_at)"
                " values (?, ?, 'prepared', ?, ?, ?, ?)",
                (key, operation, path, session_id, self._seal(request, key, "request"), at.isoformat()),
            )
            db.executemany("insert into open_line values (?, ?)", marks)

    def mark_sent(self, key: str, at: dt.datetime) -> None:
        """From now on the service may have it; returns before the first byte is written. Raises ``JournalError``."""
        with self._transaction() as db:
            moved = db.execute(
                "update attempt set state = 'sent', sent_at = ? where idempotency_key = ? and state = 'prepared'",
                (at.isoformat(), key),
            ).rowcount
            if moved != 1:
                raise JournalError(f"attempt {key} is not there to be sent")

    def reopen(self, key: str) -> None:
        """Take a refused reversal up again under its own key: a refusal changed nothing. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set state = 'sent', outcome = null, answer_sealed = null, answered_at = null"
                " where idempotency_key = ? and operation = 'reversal' and outcome = 'refusal'",
                (key,),
            )

    def note_settlement_id(self, key: str, settlement_id: str) -> None:
        """The service has the attempt, under this identifier, without a final answer yet. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set settlement_id = ? where idempotency_key = ? and settlement_id is null",
                (settlement_id, key),
            )

    def answer(
        self, key: str, outcome: Outcome, answer: bytes, at: dt.datetime, settlement_id: str | None = None
    ) -> None:
        """End an attempt. The first end stands: a later one changes nothing. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set state = 'answered', outcome = ?, answer_sealed = ?, answered_at = ?,"
                " settlement_id = coalesce(settlement_id, ?) where idempotency_key = ? and state <> 'answered'",
                (outcome, self._seal(answer, key, "answer"), at.isoformat(), settlement_id, key),
            )
            db.execute("delete from open_line where idempotency_key = ?", (key,))

    def find(self, key: str) -> JournalEntry | None:
        """The attempt under a key. Raises ``JournalError``."""
        return next(iter(self._select("where idempotency_key = ?", key)), None)

    def find_settlement(self, settlement_id: str) -> JournalEntry | None:
        """The attempt that became this settlement, if it is known here. Raises ``JournalError``."""
        return next(iter(self._select("where settlement_id = ? and operation = 'settlement'", settlement_id)), None)

    def open_entries(self) -> list[JournalEntry]:
        """All attempts without an answer, oldest first. Raises ``JournalError``."""
        return self._select("where state <> 'answered' order by prepared_at, idempotency_key")

    def recent(self, limit: int, *, operation: Operation | None = None) -> list[JournalEntry]:
        """The newest attempts, newest first, at most ``limit``; all, or those of one kind. Raises ``JournalError``."""
        if operation is None:
            return self._select("order by prepared_at desc, idempotency_key limit ?", limit)
        return self._select("where operation = ? order by prepared_at desc, idempotency_key limit ?", operation, limit)

    def _select(self, where: str, *values: str | int) -> list[JournalEntry]:
        with self._lock, _sqlite_errors("read"):
            rows = self._db.execute(_SELECT + where, values).fetchall()
        return [self._entry(row) for row in rows]

    def _entry(self, row: tuple[object, ...]) -> JournalEntry:
        key, operation, state, path, session_id, prepared_at, settlement_id, outcome, request, answer = row
        return JournalEntry(
            idempotency_key=str(key),
            operation=operation,  # type: ignore[arg-type]  # the table's check constraint holds it
            state=state,  # type: ignore[arg-type]
            path=str(path),
            session_id=str(session_id),
            prepared_at=dt.datetime.fromisoformat(str(prepared_at)),
            settlement_id=None if settlement_id is None else str(settlement_id),
            outcome=outcome,  # type: ignore[arg-type]
            request=self._unseal_or_none(request, str(key), "request"),
            answer=self._unseal_or_none(answer, str(key), "answer"),
        )

    def _seal(self, clear: bytes, key: str, part: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + sm4_gcm_encrypt(self._cipher_key, nonce, clear, f"{part}\n{key}".encode())

    def _unseal(self, sealed: bytes, key: str, part: str) -> bytes:
        nonce, data = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return sm4_gcm_decrypt(self._cipher_key, nonce, data, f"{part}\n{key}".encode())
        except (CryptoError, ValueError) as error:
            raise JournalUnreadable(f"the {part} of attempt {key} cannot be deciphered with this key") from error

    def _unseal_or_none(self, sealed: object, key: str, part: str) -> bytes | None:
        if not isinstance(sealed, bytes):
            return None
        # An unreadable body must not hide the attempt: its key alone is enough to ask for it and to take it back.
        with contextlib.suppress(JournalUnreadable):
            return self._unseal(sealed, key, part)
        return None

    def _mark(self, visit_no: str, line_no: int) -> bytes:
        return hmac_sm3(self._mark_key, f"{visit_no}\n{line_no}".encode())

    def _forget_before(self, moment: dt.datetime) -> None:
        with self._transaction() as db:
            db.execute("delete from attempt where state = 'answered' and answered_at < ?", (moment.isoformat(),))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _sqlite_errors("write"):
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _open(self, terminal_id: str) -> sqlite3.Connection:
        _create_private(self.path)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"pragma busy_timeout = {_BUSY_TIMEOUT_MS}")
            self._make_durable(db)
            self._claim(db, terminal_id)
        except BaseException:
            db.close()
            raise
        return db

    def _make_durable(self, db: sqlite3.Connection) -> None:
        (mode,) = db.execute("pragma journal_mode = wal").fetchone()
        # In WAL mode FULL is what syncs each commit; a weaker setting would lose the last keys with the power.
        db.execute("pragma synchronous = full")
        db.execute("pragma fullfsync = on")
        db.execute("pragma secure_delete = on")
        db.execute("pragma foreign_keys = on")
        (level,) = db.execute("pragma synchronous").fetchone()
        if mode != "wal" or level != _SYNCHRONOUS_FULL:
            raise JournalError(f"{self.path}: the file system cannot hold a durable journal (mode {mode})")

    def _claim(self, db: sqlite3.Connection, terminal_id: str) -> None:
        db.execute("begin immediate")
        (version,) = db.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute("insert into owner values (?)", (terminal_id,))
            db.execute(f"pragma user_version = {_SCHEMA_VERSION}")
        elif version != _SCHEMA_VERSION:
            raise JournalError(f"{self.path}: journal version {version} is not known here")
        db.execute("commit")
        (owner,) = db.execute("select terminal_id from owner").fetchone()
        if owner != terminal_id:
            raise JournalError(f"{self.path}: the journal belongs to terminal {owner}")


def _create_private(path: Path) -> None:
    """Make the file for its owner alone, and its name durable: SQLite syncs contents, not the directory entry."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror or 'cannot be made'}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (where the system knows that)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _sqlite_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"cannot {doing} the journal: {error}") from error
