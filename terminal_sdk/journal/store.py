"""Reading and writing attempts."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.errors import AttemptStillOpen, JournalError, KeyReused, QueueFull
from terminal_sdk.journal.entry import SELECT, JournalEntry, Operation, Outcome, entry_of
from terminal_sdk.journal.files import sqlite_errors
from terminal_sdk.journal.schema import open_database
from terminal_sdk.journal.seal import Seal

QUEUE_MAX = 1_000
_LISTED_MAX = 10_000
_OWED = "state <> 'answered' and (operation <> 'settlement' or given_up)"
# A reversal of the bill speaks for what came before it: what is being taken back is not printed any more.
_NOT_HANDED_OUT = (
    "where state = 'answered' and handed_out_at is null and (operation = 'refund' or not exists (select 1"
    " from attempt later where later.bill = attempt.bill and later.number > attempt.number"
    " and later.operation = 'reversal' and later.outcome is not 'refusal')) order by number limit ?"
)


class Journal:
    """Opens (and makes) the journal of one terminal. Calls block until the disk has it; safe from any thread.

    ``keep_days``: answered attempts are forgotten after so long. ``queue_max``: how many attempts may be open at once;
    beyond it nothing new is begun (``QueueFull``), but each bill that was begun can be taken back. Raises
    ``JournalError`` if the file belongs to another terminal or its disk cannot give the durability that is promised.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        terminal_id: str,
        key: Sm2PrivateKey,
        keep_days: int = 35,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self.path = Path(path)
        self._queue_max = queue_max
        self._seal = Seal(key)
        self._lock = threading.Lock()
        with sqlite_errors("open"):
            self._db = open_database(self.path, terminal_id, self._seal)
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
        bill: str | None = None,
        lines: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Write a new attempt; when this returns it is on the disk. ``lines``: (visit, line) pairs it claims.

        ``bill``: the key or the identifier of the settlement that it is about, where it is not that settlement itself.
        Raises ``KeyReused``, ``AttemptStillOpen``, ``QueueFull``, ``JournalError``.
        """
        marks = [(self._seal.mark(visit_no, line_no), key) for visit_no, line_no in lines]
        with self._transaction() as db:
            if db.execute("select 1 from attempt where idempotency_key = ?", (key,)).fetchone():
                raise KeyReused(key)
            for mark, _ in marks:
                holder = db.execute("select idempotency_key from open_line where mark = ?", (mark,)).fetchone()
                if holder:
                    raise AttemptStillOpen(holder[0])
            about = self._bill(db, bill or key)
            self._require_place(db, about)
            db.execute(
                "insert into attempt (idempotency_key, operation, state, path, session_id, bill, request_sealed,"
                " prepared_at) values (?, ?, 'prepared', ?, ?, ?, ?, ?)",
                (key, operation, path, session_id, about, self._seal.seal(request, key, "request"), at.isoformat()),
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
                "update attempt set state = 'sent', outcome = null, answer_sealed = null, answered_at = null,"
                " handed_out_at = null where idempotency_key = ? and operation = 'reversal' and outcome = 'refusal'",
                (key,),
            )

    def note_settlement_id(self, key: str, settlement_id: str) -> None:
        """The service has the attempt, under this identifier, without a final answer yet. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set settlement_id = ? where idempotency_key = ? and settlement_id is null",
                (settlement_id, key),
            )

    def note_failure(self, key: str, error: str, at: dt.datetime, next_try_at: dt.datetime | None = None) -> None:
        """A try that brought no answer: ``error`` is a stable word. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set tries = tries + 1, last_error = ?, tried_at = ?, next_try_at = ?"
                " where idempotency_key = ? and state <> 'answered'",
                (error, at.isoformat(), None if next_try_at is None else next_try_at.isoformat(), key),
            )

    def give_up(self, key: str) -> None:
        """Nobody waits for this settlement any more: the forwarder brings it to its end. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set given_up = 1 where idempotency_key = ? and state <> 'answered' and given_up = 0",
                (key,),
            )

    def answer(
        self, key: str, outcome: Outcome, answer: bytes, at: dt.datetime, settlement_id: str | None = None
    ) -> None:
        """End an attempt. The first end stands: a later one changes nothing. Raises ``JournalError``."""
        with self._transaction() as db:
            db.execute(
                "update attempt set state = 'answered', outcome = ?, answer_sealed = ?, answered_at = ?,"
                " next_try_at = null, settlement_id = coalesce(settlement_id, ?)"
                " where idempotency_key = ? and state <> 'answered'",
                (outcome, self._seal.seal(answer, key, "answer"), at.isoformat(), settlement_id, key),
            )
            db.execute("delete from open_line where idempotency_key = ?", (key,))

    def mark_handed_out(self, key: str, at: dt.datetime) -> bool:
        """The outcome of this attempt was told, its receipt printed; True if that was not known yet.

        What was taken back is told with its reversal. An attempt without an answer has nothing to hand out. Raises
        ``JournalError``.
        """
        with self._transaction() as db:
            return bool(
                db.execute(
                    "update attempt set handed_out_at = ? where state = 'answered' and handed_out_at is null"
                    " and (idempotency_key = ? or operation <> 'refund' and bill ="
                    " (select bill from attempt where idempotency_key = ? and outcome = 'reversal'))",
                    (at.isoformat(), key, key),
                ).rowcount
            )

    def find(self, key: str) -> JournalEntry | None:
        """The attempt under a key. Raises ``JournalError``."""
        return next(iter(self._select("where idempotency_key = ?", key)), None)

    def find_settlement(self, settlement_id: str) -> JournalEntry | None:
        """The attempt that became this settlement, if it is known here. Raises ``JournalError``."""
        return next(iter(self._select("where settlement_id = ? and operation = 'settlement'", settlement_id)), None)

    def taken_back(self, bill: str) -> JournalEntry | None:
        """The newest reversal of this bill that was accepted. Raises ``JournalError``."""
        where = "where bill = ? and operation = 'reversal' and outcome = 'reversal' order by number desc limit 1"
        return next(iter(self._select(where, bill)), None)

    def open_entries(self) -> list[JournalEntry]:
        """All attempts without an answer, oldest first. Raises ``JournalError``."""
        return self._select("where state <> 'answered' order by number")

    def owed_entries(self, bill: str | None = None) -> list[JournalEntry]:
        """What the service has still to hear of though nobody waits for it, oldest first; all, or those of one bill.

        Raises ``JournalError``.
        """
        if bill is None:
            return self._select(f"where {_OWED} order by number")
        return self._select(f"where {_OWED} and bill = ? order by number", bill)

    def not_handed_out(self) -> list[JournalEntry]:
        """The attempts whose outcome was never told or whose receipt never printed, oldest first.

        Raises ``JournalError``.
        """
        return self._select(_NOT_HANDED_OUT, _LISTED_MAX)

    def recent(self, limit: int, *, operation: Operation | None = None) -> list[JournalEntry]:
        """The newest attempts, newest first, at most ``limit``; all, or those of one kind. Raises ``JournalError``."""
        if operation is None:
            return self._select("order by number desc limit ?", limit)
        return self._select("where operation = ? order by number desc limit ?", operation, limit)

    def _select(self, where: str, *values: str | int) -> list[JournalEntry]:
        with self._lock, sqlite_errors("read"):
            rows = self._db.execute(SELECT + where, values).fetchall()
        return [entry_of(row, self._seal.unsealed) for row in rows]

    def _bill(self, db: sqlite3.Connection, name: str) -> str:
        """One name for each bill: its key here, where the service's identifier was given and the till knows both."""
        known = db.execute(
            "select idempotency_key from attempt where settlement_id = ? and operation = 'settlement'", (name,)
        ).fetchone()
        return str(known[0]) if known else name

    def _require_place(self, db: sqlite3.Connection, bill: str) -> None:
        """Each open bill may come to owe its reversal, and keeps a place for it."""
        owed, open_bills = db.execute(
            "select count(*) filter (where operation <> 'settlement'), count(*) filter (where operation = 'settlement')"
            " from attempt where state <> 'answered'"
        ).fetchone()
        kept = db.execute(
            "select 1 from attempt where idempotency_key = ? and operation = 'settlement' and state <> 'answered'",
            (bill,),
        ).fetchone()
        if owed + (0 if kept else open_bills) >= self._queue_max:
            raise QueueFull(owed + open_bills)

    def _forget_before(self, moment: dt.datetime) -> None:
        with self._transaction() as db:
            db.execute("delete from attempt where state = 'answered' and answered_at < ?", (moment.isoformat(),))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, sqlite_errors("write"):
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")
