"""``python -m bench profile``: where the time of a settlement goes, by statement and by function of the service."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec

from bench import sampling
from bench.load.jobs import Closed, Payment
from bench.options import DEFAULT
from bench.parts.settle import TITLES, run_http
from bench.server import look_at
from bench.world import City, World, open_world
from settlement.db.cluster import SUPERUSER, secret
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.placement import Placement, find_placement
from settlement.db.postmaster import read_postmaster

FOLDER = "profile"
STATEMENTS_SHOWN = 30
_EXTENSION = "pg_stat_statements"
_SETTINGS = f"\nshared_preload_libraries = '{_EXTENSION}'\n{_EXTENSION}.track = all\n{_EXTENSION}.max = 10000\n"
_STATEMENTS = """
select query, toplevel, calls, total_exec_time as ms, rows, wal_bytes::bigint as wal_bytes
from pg_stat_statements
where userid = 'settlement'::regrole and dbid = (select oid from pg_database where datname = current_database())
order by total_exec_time desc
"""
_SETTLED = "select count(*) from settlement"
_LABEL = re.compile(r"\b(insert into|update|delete from|from|select|perform)\s+([a-z_]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one settlement costs in one statement: calls, ms of execution (with what it calls), rows, WAL bytes.

    ``nested``: it runs inside a function, and its time is part of that function's statement.
    """

    label: str
    nested: bool
    calls: float
    ms: float
    rows: float
    wal_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One run. ``cpu_ms``: CPU per settlement by party; ``functions``: share of the service's samples, with callees."""

    settlements: int
    clients: int
    payment: Payment
    cpu_ms: dict[str, float]
    statements: list[Statement]
    functions: list[sampling.Share]


async def profile(world: World, place: Placement, payment: Payment, clients: int, settlements: int) -> Profile:
    """Warm up, then settle so many bills with fresh cards while both sides are watched. Raises ``BenchError``."""
    city = await world.open_city()
    await city.reserve(payment, 2 * settlements)
    forever = Closed(clients=clients, seconds=600.0)  # over when the cards are
    await run_http(world, city, payment, forever, settlements)
    async with _statistics(place, city) as statistics:
        before = await statistics.fetchval(_SETTLED)
        await statistics.execute("select pg_stat_statements_reset()")
        with sampling.sampled(city.stand.processes["service"]) as stacks:
            measured = await run_http(world, city, payment, forever, settlements)
        rows = await statistics.fetch(_STATEMENTS)
        counted = await statistics.fetchval(_SETTLED) - before  # the tills' rehearsal of each run is among them
    done = measured.tally.done
    return Profile(
        settlements=done,
        clients=clients,
        payment=payment,
        cpu_ms={party: 1_000 * seconds / done for party, seconds in measured.cpu_s.items()},
        statements=_statements(rows, counted),
        functions=sampling.shares(stacks),
    )


@contextlib.contextmanager
def watched_server(data_dir: Path) -> Iterator[tuple[str, Placement]]:
    """An embedded server with fresh data that counts its statements; its address and place. Blocks."""
    folder = (data_dir / FOLDER).absolute()
    server = EmbeddedPostgres(folder / "database")
    server.remove()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        server.start()
        place = find_placement(folder / "database")
        server.stop()
        with (place.pgdata / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(_SETTINGS)
        yield server.start(), place
    finally:
        server.stop()
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


async def run(url: str, place: Placement, payment: Payment, clients: int, settlements: int) -> Profile:
    """A whole profile on a server of ``watched_server``."""
    options = msgspec.structs.replace(DEFAULT, clients=(clients,))
    with tempfile.TemporaryDirectory(dir=place.home.parent) as folder:
        async with open_world(options, await look_at(url), Path(folder), lambda _: None) as world:
            return await profile(world, place, payment, clients, settlements)


@contextlib.asynccontextmanager
async def _statistics(place: Placement, city: City) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to the service's database, where the statements are counted."""
    server = read_postmaster(place.pgdata)
    assert server is not None  # noqa: S101 - it runs
    database = await city.stand.base.pool.fetchval("select current_database()")
    connection = await asyncpg.connect(
        host=str(server.socket_dir),
        port=server.port,
        user=SUPERUSER,
        password=secret(place, "superuser.password"),
        database=database,
    )
    try:
        await connection.execute(f"create extension if not exists {_EXTENSION}")
        yield connection
    finally:
        await connection.close()


def _statements(rows: Sequence[asyncpg.Record], settlements: int) -> list[Statement]:
    seen: Counter[str] = Counter()
    found = []
    for row in rows:
        label = label_of(row["query"])
        seen[label] += 1
        found.append(
            Statement(
                label=label if seen[label] == 1 else f"{label} ({seen[label]})",
                nested=not row["toplevel"],
                calls=row["calls"] / settlements,
                ms=row["ms"] / settlements,
                rows=row["rows"] / settlements,
                wal_bytes=row["wal_bytes"] / settlements,
            )
        )
    return found[:STATEMENTS_SHOWN]


def label_of(query: str) -> str:
    """A statement by what it does to which table or function: ``insert into leg_move``, ``select from load_card``."""
    text = " ".join(query.split())
    first = text.split(maxsplit=1)[0].lower() if text else ""
    found = {verb.lower(): name for verb, name in reversed(_LABEL.findall(text))}
    for verb in ("insert into", "delete from"):
        if verb in found and text.lower().startswith(verb.split(maxsplit=1)[0]):
            return f"{verb} {found[verb]}"
    if first == "update":
        return f"update {found['update']}"
    call = re.match(r"select ([a-z_]+)\(", text, re.IGNORECASE)
    if call:
        return f"select {call[1]}()"
    return f"{first} from {found['from']}" if "from" in found else text[:40]


def lines(profile: Profile) -> Iterator[str]:
    """The profile as Markdown: two tables, and what they say."""
    spent = ", ".join(f"{party} {ms:.1f}" for party, ms in sorted(profile.cpu_ms.items()))
    what = f"{profile.settlements} settlements, {TITLES[profile.payment]}, {profile.clients} tills"
    yield f"{what}. CPU ms each: {spent}."
    yield "\n| statement (→ inside a function) | calls | ms | rows | WAL bytes |"
    yield "|---|---:|---:|---:|---:|"
    for each in profile.statements:
        label = f"→ {each.label}" if each.nested else each.label
        yield f"| `{label}` | {each.calls:.2f} | {each.ms:.3f} | {each.rows:.1f} | {each.wal_bytes:.0f} |"
    yield "\n| function of the service | with callees | own |"
    yield "|---|---:|---:|"
    for share in profile.functions:
        yield f"| `{share.function}` | {share.inclusive:.1%} | {share.own:.1%} |"
