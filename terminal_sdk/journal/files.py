"""Files whose names outlast a power cut, for the eyes of their owner alone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from terminal_sdk.errors import JournalError


def create_private(path: Path) -> None:
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
def sqlite_errors(doing: str) -> Iterator[None]:
    """Whatever SQLite raises, as ``JournalError``."""
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"cannot {doing} the journal: {error}") from error
