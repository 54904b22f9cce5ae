"""What can go wrong between the service and its database server, each with what to do about it in the message."""

from __future__ import annotations


class DatabaseError(Exception):
    """The database cannot be used as it is; the message says why and what to do. No message carries a password."""


class DatabaseRefused(DatabaseError):
    """The server does not take a call now, and nothing of it was done. ``reason``: why, in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DatabaseUnreachable(DatabaseError):
    """Nothing answers at the address, or it refuses this user, password or database."""


class DatabaseTooOld(DatabaseError):
    """The server is older than PostgreSQL 15."""


class DatabaseNotDurable(DatabaseError):
    """The server may lose a commit in a crash, and settings do not allow that."""


class MigrationError(DatabaseError):
    """The migration files and what the database has applied do not fit together, or a migration failed."""


class EmbeddedError(DatabaseError):
    """The embedded server cannot be prepared, started or stopped."""
