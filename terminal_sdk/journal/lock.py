"""One forwarder per journal, also across processes: a lock that ends with its process, however that ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Self

from terminal_sdk.errors import ForwarderBusy
from terminal_sdk.journal.files import create_private, sqlite_errors


class ForwardLock:
    """Held from entering to leaving; use it as ``with ForwardLock(journal.path)``.

    It is SQLite's own file lock on an empty file beside the journal, and so the same on every system. Raises
    ``ForwarderBusy`` if another process, or another forwarder of this one, holds it; ``JournalError``.
    """

    def __init__(self, journal_path: Path) -> None:
        self._path = journal_path.with_name(f"{journal_path.name}-forward")
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Take it, without waiting."""
        create_private(self._path)
        with sqlite_errors("lock"):
            db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                db.execute("begin exclusive")
            except sqlite3.OperationalError as error:
                db.close()
                if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise ForwarderBusy from error
                raise
        self._db = db
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        if self._db is not None:
            self._db.close()
            self._db = None
