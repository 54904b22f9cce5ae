"""The connection pool: JSON and time zone set up, and a server refused that is unreachable, too old or not durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import msgspec

from settlement.config import Settings
from settlement.db.errors import DatabaseError, DatabaseNotDurable, DatabaseTooOld, DatabaseUnreachable

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
"""A connection, taken from a pool or not. (At run time asyncpg's classes take no type parameters.)"""

OLDEST_MAJOR = 15
DURABLE_COMMITS = frozenset({"on", "remote_apply"})
"""The values of synchronous_commit that return only when the commit is safe here and on a synchronous replica."""

_CONNECT_TIMEOUT_S = 10.0
PLANS_BY_KEY = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Every hot statement finds a few rows by key. Planning it anew for its values costs more than running it, so it is
planned once; and because that may be while its tables are still empty, ways that read whole tables are ruled out.
``plan_freely`` lifts this."""
_READ_ONLY = ("default_transaction_read_only", "in_hot_standby")
_REFUSALS = (
    asyncpg.InvalidAuthorizationSpecificationError,  # also a wrong password
    asyncpg.InvalidCatalogNameError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientPrivilegeError,
)


async def create_pool(settings: Settings) -> asyncpg.Pool[asyncpg.Record]:
    """Connect to ``settings.database_url`` and check the server.

    Every connection speaks UTC, maps ``json`` and ``jsonb`` to Python values, and cancels statements that run
    or wait for a lock too long. Raises ``DatabaseUnreachable``, ``DatabaseTooOld`` or ``DatabaseNotDurable``.
    """
    url = settings.database_url
    if url is None:
        raise DatabaseError("no database: set SETTLEMENT_DATABASE_URL, or start the embedded server first")
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=settings.db_pool_min,
            max_size=settings.db_pool_max,
            init=_prepare,
            reset=_reset,
            timeout=_CONNECT_TIMEOUT_S,
            max_inactive_connection_lifetime=0,  # a new one plans everything anew, and after a quiet night all would be
            server_settings={
                "application_name": "settlement",
                "timezone": "UTC",
                "statement_timeout": str(settings.db_statement_timeout_ms),
                "lock_timeout": str(settings.db_lock_timeout_ms),
                "idle_in_transaction_session_timeout": "60000",
                "tcp_keepalives_idle": "60",  # idle connections stay, and a firewall in between must not forget them
                **PLANS_BY_KEY,
            },
        )
    except (OSError, TimeoutError, *_REFUSALS) as error:
        reason = str(error) or f"no answer within {_CONNECT_TIMEOUT_S:.0f} s"
        raise DatabaseUnreachable(
            f"cannot connect to PostgreSQL at {address(url)}: {reason}; is SETTLEMENT_DATABASE_URL right?"
        ) from error
    except (asyncpg.InterfaceError, ValueError) as error:  # the URL cannot be understood; its text may hold a password
        raise DatabaseUnreachable("SETTLEMENT_DATABASE_URL is not an address that PostgreSQL clients know") from error
    try:
        async with pool.acquire() as connection:
            await check_server(connection, allow_weak_durability=settings.allow_weak_durability)
    except BaseException:
        await pool.close()
        raise
    return pool


async def plan_freely(connection: Connection) -> None:
    """For a transaction that reads whole tables: the planner may choose any way, until the transaction ends."""
    await connection.execute(
        "; ".join(["SET LOCAL plan_cache_mode = auto", *(f"SET LOCAL {name} = on" for name in list(PLANS_BY_KEY)[1:])])
    )


async def check_server(connection: Connection, *, allow_weak_durability: bool) -> None:
    """Refuse a server that is too old, or one that may lose commits (unless that is allowed)."""
    version = connection.get_server_version()
    if version.major < OLDEST_MAJOR:
        raise DatabaseTooOld(
            f"the database server is PostgreSQL {version.major}.{version.minor}; {OLDEST_MAJOR} or newer is needed"
        )
    weak = await durability_report(connection)
    if weak and not allow_weak_durability:
        raise DatabaseNotDurable(
            "the database may lose settled bills in a crash: " + "; ".join(weak) + " "
            "(SETTLEMENT_ALLOW_WEAK_DURABILITY=true accepts that, for experiments only)"
        )


async def durability_report(connection: Connection) -> list[str]:
    """What makes the server's commits less than durable, one sentence each; empty when all is well."""
    names = ["fsync", "full_page_writes", "synchronous_commit"]
    rows = await connection.fetch(
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY($1::text[]) ORDER BY name", names
    )
    found = {row["name"]: row["setting"] for row in rows}
    report = [f"{name} is {found[name]}, expected on" for name in names[:2] if found[name] != "on"]
    if found["synchronous_commit"] not in DURABLE_COMMITS:
        report.append(f"synchronous_commit is {found['synchronous_commit']}, expected on or remote_apply")
    return report


def address(url: str) -> str:
    """Host, port and database of a URL, for messages: never the user or the password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
        port = parts.port or parse_qs(parts.query).get("port", ["5432"])[0]
    except ValueError:
        return "(an address that cannot be read)"
    return f"{host}:{port}/{unquote(parts.path.lstrip('/'))}"


async def _reset(connection: Connection) -> None:
    """Nothing in the usual case: no code leaves session state behind, and asyncpg's reset is a round trip each time.

    A connection to a server that takes no writes is not kept: the setting would outlive its cause in it, and after a
    change of roles the next one may reach the new primary. The server reports both values unasked.
    """
    told = connection.get_settings()
    if "on" in {getattr(told, name, "off") for name in _READ_ONLY}:
        connection.terminate()
        return
    if connection.is_in_transaction():
        await connection.reset()


async def _prepare(connection: Connection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_encode_json, decoder=msgspec.json.decode, format="text"
        )


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
