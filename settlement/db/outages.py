"""What the database's failures mean: refused with nothing done, or broken off with anything possible."""

from __future__ import annotations

import asyncpg

from settlement.db.errors import DatabaseRefused

CONFLICTS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.LockNotAvailableError,
)
"""Another transaction was in the way; a second look sees what it committed, or finds it gone."""

OUTAGES_FOR_ALL = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientResourcesError,  # class 53: disk full, out of memory, too many connections
    asyncpg.QueryCanceledError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # used after the server said that it hangs up, and before it was seen to
    DatabaseRefused,
    ConnectionError,
    TimeoutError,
    OSError,
)
"""The database is away or takes nothing, whoever asks."""

OUTAGES = (
    *OUTAGES_FOR_ALL,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)
"""These, or conflicts that did not pass. Unless it is one of ``REFUSALS`` the connection broke, perhaps exactly at
COMMIT: the outcome of the call is not known."""

REFUSALS = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.QueryCanceledError,
    asyncpg.CannotConnectNowError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    DatabaseRefused,
    ConnectionRefusedError,
    FileNotFoundError,  # a local socket that is not there
)
"""The server said no and has rolled everything back, or nothing could be sent: nothing was done."""

READ_ONLY = "the database is read-only"
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (asyncpg.ReadOnlySQLTransactionError, READ_ONLY),
    (asyncpg.DiskFullError, "the database's disk is full"),
    (asyncpg.TooManyConnectionsError, "the database has no free connection"),
    (asyncpg.InsufficientResourcesError, "the database has no memory or other resources left"),
    (asyncpg.QueryCanceledError, "the database took too long (statement_timeout)"),
    (asyncpg.LockNotAvailableError, "the database is locked by somebody else (lock_timeout)"),
    (asyncpg.DeadlockDetectedError, "the database is busy with conflicting work"),
    (asyncpg.SerializationError, "the database is busy with conflicting work"),
)


def reason(error: BaseException) -> str:
    """What is the matter, in a few words; never the server's own text, which may quote values."""
    if isinstance(error, DatabaseRefused):
        return error.reason
    return next((words for kind, words in _REASONS if isinstance(error, kind)), "the database cannot be reached")


def not_ready(error: BaseException) -> str:
    """The message of a refusal for this error."""
    return f"The service is not ready ({reason(error)}); try again after the time given."


def refused(error: Exception) -> DatabaseRefused:
    """The error for a call of which it is certain that nothing was done."""
    return error if isinstance(error, DatabaseRefused) else DatabaseRefused(reason(error))
