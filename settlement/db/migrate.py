"""Brings a database up to this release: numbered SQL files, each applied once, in order, and never changed again."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable

import asyncpg

from settlement.db.errors import MigrationError
from settlement.db.pool import Connection

LOCK_KEY = 0x5E771E_0001
"""The advisory lock under which migrations run: whoever comes second waits, and finds the work done."""

_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    digest      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name, its statements, and the SHA-256 (hex) of them."""

    version: int
    name: str
    statements: str

    @property
    def digest(self) -> str:
        """SHA-256 of the statements, in hex."""
        return hashlib.sha256(self.statements.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The file's name without its ending."""
        return f"{self.version:04d}_{self.name}"


async def migrate(connection: Connection, directory: Traversable | None = None) -> list[str]:
    """Apply what is missing and return the names of what was applied now.

    ``directory``: where the files lie; None means ``settlement/db/migrations``. Each file is one transaction together
    with its record; a failing one leaves those before it applied. Raises ``MigrationError`` when a file fails, when
    one that was applied has changed, was renamed or is missing, or when the numbers have a gap.
    """
    migrations = read_migrations(directory)
    await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        try:
            await connection.execute(_CREATE_TABLE)
            applied = await connection.fetch("SELECT version, name, digest FROM schema_migration ORDER BY version")
            _check_history(migrations, applied)
            missing = migrations[len(applied) :]
            for migration in missing:
                await _apply(connection, migration)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)
    finally:
        await connection.execute("RESET statement_timeout; RESET lock_timeout")
    return [migration.label for migration in missing]


async def check_migrated(connection: Connection) -> None:
    """Refuse a database that is not exactly at this release; changes nothing. Raises ``MigrationError``."""
    migrations = read_migrations()
    applied = await connection.fetch("SELECT version, name, digest FROM schema_migration ORDER BY version")
    _check_history(migrations, applied)
    if len(applied) < len(migrations):
        raise MigrationError(
            f"the database is before migration {migrations[len(applied)].label}; restart the service as a whole"
        )


def read_migrations(directory: Traversable | None = None) -> list[Migration]:
    """All migration files in order. Raises ``MigrationError`` for a bad name, a gap or a number used twice."""
    source = directory if directory is not None else importlib.resources.files("settlement.db") / "migrations"
    found = []
    for file in source.iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"migration file {file.name}: expected a name like 0001_first_tables.sql")
        # line endings may be changed by a checkout; the statements are the same
        statements = file.read_bytes().decode("utf-8").replace("\r\n", "\n")
        found.append(Migration(int(match["version"]), match["name"], statements))
    found.sort(key=lambda migration: migration.version)
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"migration file {migration.label}.sql: expected number {expected:04d} here; "
                "the numbers begin at 0001 and have no gap and no double"
            )
    return found


def _check_history(migrations: Sequence[Migration], applied: Sequence[asyncpg.Record]) -> None:
    for position, row in enumerate(applied):
        label = f"{row['version']:04d}_{row['name']}"
        if position >= len(migrations):
            raise MigrationError(
                f"the database has migration {label}, which this release does not have; "
                "a newer release was here: run that one, or restore a backup from before it"
            )
        migration = migrations[position]
        if migration.label != label:
            raise MigrationError(f"the database has migration {label} where this release has {migration.label}")
        if migration.digest != row["digest"]:
            raise MigrationError(
                f"migration {label} was applied to the database and has changed since; "
                "applied migrations are never edited: undo the change and write a new file"
            )


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            before = await connection.fetchval("SELECT pg_current_xact_id()::text")
            await connection.execute(migration.statements)
            if await connection.fetchval("SELECT pg_current_xact_id()::text") != before:
                raise MigrationError(f"migration {migration.label} ends its transaction; take out BEGIN and COMMIT")
            await connection.execute(
                "INSERT INTO schema_migration (version, name, digest) VALUES ($1, $2, $3)",
                *(migration.version, migration.name, migration.digest),
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"migration {migration.label} failed and was rolled back: {error}") from error
