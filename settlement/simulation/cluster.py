"""A PostgreSQL server to be thrown away: durability switched off, one database for each job, emptied between runs."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from settlement.bootstrap import Base
from settlement.businessdate import SHANGHAI
from settlement.cards.registry import CardRegistry
from settlement.clock import Clock
from settlement.config import Settings
from settlement.db.cluster import SUPERUSER, secret
from settlement.db.embedded import ROLE, EmbeddedPostgres
from settlement.db.errors import EmbeddedError
from settlement.db.migrate import migrate
from settlement.db.placement import find_placement
from settlement.db.pool import create_pool
from settlement.ids import IdSource, SystemIds
from settlement.security import Personal
from settlement.security.authorities import Authorities
from settlement.simulation import population
from settlement.terminals import TerminalRegistry
from terminal_sdk.crypto import CertificateAuthority

PARTITION_MONTHS = 2
_FOLDER_PREFIX = "settlement-simulation-"
_LOCK = "run.lock"
_TEMPLATE = "simulation_template"
_CARELESS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")
_KEPT = frozenset(
    {
        "card",
        "card_event",
        "card_index",
        "institution",
        "insurance_accounts",
        "leg_rule",
        "partition_plan",
        "person",
        "person_coverage",
        "person_index",
        "schema_migration",
        "terminal",
        "terminal_event",
    }
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server. ``owner_url``: as the role of the service; ``superuser_url``: for what only the run may do."""

    owner_url: str
    superuser_url: str

    def database(self, name: str) -> Cluster:
        """The same server, another database."""
        return Cluster(_with_database(self.owner_url, name), _with_database(self.superuser_url, name))


@contextlib.contextmanager
def throw_away_cluster() -> Iterator[Cluster]:
    """Start a server in a temporary folder; stopped and removed at the end. Blocks: not inside an event loop."""
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    folder.chmod(0o755)  # as root, the server runs as another user, who has to enter
    server = EmbeddedPostgres(folder)
    with (folder / _LOCK).open("w") as lock, contextlib.ExitStack() as ending:
        fcntl.flock(lock, fcntl.LOCK_SH)
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        ending.callback(server.remove)
        ending.callback(server.stop)
        owner = server.start()
        password = secret(find_placement(folder), "superuser.password")
        parts = urlsplit(owner)
        host = parts.netloc.rpartition("@")[2]
        superuser = urlunsplit(parts._replace(netloc=f"{SUPERUSER}:{quote(password, safe='')}@{host}"))
        yield Cluster(owner, _with_database(superuser, "postgres"))


def _remove_leftovers() -> None:
    """Stop and remove the servers of runs that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError, EmbeddedError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            EmbeddedPostgres(folder).remove()
            shutil.rmtree(folder, ignore_errors=True)


async def make_template(cluster: Cluster) -> None:
    """Migrate and fill the database from which those of the jobs are copied."""
    careless = (f"alter system set {setting}" for setting in _CARELESS)
    await _as_superuser(cluster, *careless, "select pg_reload_conf()", f"create database {_TEMPLATE} owner {ROLE}")
    template = cluster.database(_TEMPLATE)
    connection = await asyncpg.connect(template.owner_url)
    try:
        await migrate(connection)
        await _only_these_months(connection)
    finally:
        await connection.close()
    clock = _StandingClock()
    settings = simulation_settings(template.owner_url)
    pool = await create_pool(settings)
    try:
        await population.register(make_base(settings, pool, clock, SystemIds(clock)))
    finally:
        await pool.close()


async def make_job_database(cluster: Cluster, name: str) -> Cluster:
    """A copy of the template under this name."""
    await _as_superuser(cluster, f"create database {name} template {_TEMPLATE} owner {ROLE}")
    return cluster.database(name)


async def drop_job_database(cluster: Cluster, name: str) -> None:
    """Remove it, whoever is still connected."""
    await _as_superuser(cluster, f"drop database {name} with (force)")


async def _as_superuser(cluster: Cluster, *statements: str) -> None:
    connection = await asyncpg.connect(cluster.superuser_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def reset_statements(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """What makes a used database as the template is; for the superuser, because it goes past the guards."""
    tables = await connection.fetch(
        """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition order by c.relname"""
    )
    sequences = await connection.fetch("select sequencename from pg_sequences where schemaname = 'public'")
    statements = ["begin", "set local session_replication_role = replica"]
    statements += [f"delete from {row['relname']}" for row in tables if row["relname"] not in _KEPT]  # noqa: S608 - names of our own tables
    statements += [
        "update card set last_counter = 0",
        """update insurance_accounts set version = 0, current_year_posted_fen = 0, current_year_held_fen = 0,
               carried_over_posted_fen = 0, carried_over_held_fen = 0, counting_settlement = null""",
    ]
    statements += [
        f"select setval('{row['sequencename']}', 1, false)"
        for row in sequences
        if row["sequencename"] == "bank_reference_seq"
    ]
    return ";\n".join([*statements, "commit"])


def simulation_settings(database_url: str) -> Settings:
    """The service's settings in a run: one connection, and a database that may forget."""
    return Settings(
        database_url=database_url, db_pool_min=1, db_pool_max=2, allow_weak_durability=True, recovery_interval_ms=1_000
    )


def make_base(settings: Settings, pool: asyncpg.Pool, clock: Clock, ids: IdSource) -> Base:
    """What an engine is built on, with the keys of the simulated city."""
    authority = _authority()
    keys = population.KEYS
    personal = Personal(keys)
    return Base(
        settings=settings,
        clock=clock,
        ids=ids,
        keys=keys,
        authorities=Authorities(card=authority, terminal=authority),
        pool=pool,
        personal=personal,
        cards=CardRegistry(pool, personal, keys, clock, [authority.certificate]),
        terminals=TerminalRegistry(pool, keys, clock, ids, authority, settings),
    )


_authorities: list[CertificateAuthority] = []


def _authority() -> CertificateAuthority:
    """One for cards and terminals alike, made once in a process: no run looks at its certificate."""
    if not _authorities:
        begin = dt.datetime.combine(population.FIRST_DAY, dt.time(), SHANGHAI) - dt.timedelta(days=365)
        _authorities.append(CertificateAuthority.create_root("Simulation", begin, begin + dt.timedelta(days=7_300)))
    return _authorities[0]


class _StandingClock:
    """Noon of the city's first day."""

    def now(self) -> dt.datetime:
        """The moment, UTC."""
        return dt.datetime.combine(population.FIRST_DAY, dt.time(4), dt.UTC)

    def monotonic(self) -> float:
        """No time passes."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Nobody waits here."""


async def _only_these_months(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Partitions of the simulated months in place of those that the migrations made for the present ones."""
    made = await connection.fetch("select distinct inhrelid::regclass::text as name from pg_inherits order by 1")
    tables = [row["name"] for row in made if not row["name"].endswith("_idx") and "_pkey" not in row["name"]]
    names = await connection.fetch(
        "select relname from pg_class where relispartition and relkind = 'r' and relname = any ($1::text[])", tables
    )
    if names:
        await connection.execute("drop table " + ", ".join(row["relname"] for row in names) + " cascade")
    await connection.execute(f"select ensure_partitions('{population.FIRST_DAY}', {PARTITION_MONTHS})")


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
