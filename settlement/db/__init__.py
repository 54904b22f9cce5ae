"""The database: the embedded server, the connection pool, migrations and named statements."""

from settlement.db.embedded import EmbeddedPostgres
from settlement.db.errors import (
    DatabaseError,
    DatabaseNotDurable,
    DatabaseTooOld,
    DatabaseUnreachable,
    EmbeddedError,
    MigrationError,
)
from settlement.db.migrate import migrate
from settlement.db.pool import Connection, create_pool, durability_report
from settlement.db.queries import load_queries
from settlement.db.server import database_server

__all__ = [
    "Connection",
    "DatabaseError",
    "DatabaseNotDurable",
    "DatabaseTooOld",
    "DatabaseUnreachable",
    "EmbeddedError",
    "EmbeddedPostgres",
    "MigrationError",
    "create_pool",
    "database_server",
    "durability_report",
    "load_queries",
    "migrate",
]
