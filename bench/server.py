"""The PostgreSQL server of a run: an embedded one with fresh data, or the one that is given; databases made on it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import asyncpg

from bench.cells import BenchError
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.placement import find_placement
from settlement.db.pool import check_server

FOLDER = "bench"
"""The folder of a run in the data directory; nothing else there is touched."""
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Server:
    """``url``: an address whose role may make databases; that database itself is left alone.

    ``postmaster``: the server's process id where it runs on this machine, else None.
    """

    url: str
    postmaster: int | None

    @contextlib.asynccontextmanager
    async def database(self, purpose: str) -> AsyncIterator[str]:
        """A fresh empty database for the block; its address."""
        name = f"bench_{purpose}_{secrets.token_hex(4)}"
        await self._execute(f'create database "{name}" template template0')
        try:
            yield with_database(self.url, name)
        finally:
            with contextlib.suppress(asyncpg.PostgresError):  # the server's own vacuum may be at work in it
                await self._execute(f'drop database "{name}" with (force)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a run takes place. ``url``: the server's address · ``folder``: for files of the run · ``data``: where the
    server's data lie; None where that is not known.
    """

    url: str
    folder: Path
    data: Path | None


@contextlib.contextmanager
def prepared_ground(data_dir: Path, given: str | None) -> Iterator[Ground]:
    """A folder of our own in ``data_dir``, and the given server or an embedded one with fresh data in that folder.

    Blocks: enter it before the event loop runs. The folder is removed at the end; what a killed run left in it is
    removed first. Raises ``EmbeddedError``, also when another run uses the folder.
    """
    folder = (data_dir / FOLDER).absolute()
    server = EmbeddedPostgres(folder / "database")
    server.remove()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "run").mkdir(parents=True)
    try:
        if given is None:
            url = server.start()
            yield Ground(url, folder / "run", find_placement(folder / "database").home)
        else:
            yield Ground(given, folder / "run", None)
    finally:
        server.stop()
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


async def look_at(url: str) -> Server:
    """The server behind an address. Raises ``DatabaseError`` for one that is too old or not durable, ``BenchError``."""
    try:
        connection = await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError) as error:
        raise BenchError(f"cannot connect to PostgreSQL: {error}") from error
    try:
        await check_server(connection, allow_weak_durability=False)
        backend: int | None = await connection.fetchval(
            "select pg_backend_pid() where coalesce(inet_server_addr() <<= '127.0.0.0/8', true)"
        )
        return Server(url, None if backend is None else _parent(backend))  # while the backend lives
    finally:
        await connection.close()


def with_database(url: str, name: str) -> str:
    """The same address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def libpq_environment(url: str) -> dict[str, str]:
    """An address as the variables of libpq's programs: a password on a command line could be read by anybody."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    found = {
        "PGHOST": query.get("host", [parts.hostname or "localhost"])[0],
        "PGPORT": query.get("port", [str(parts.port or 5432)])[0],
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    return {name: value for name, value in found.items() if value}


def _parent(pid: int) -> int | None:
    """The parent of a backend of ours; None if that number is not a PostgreSQL process here (another machine's is)."""
    try:
        name, _, rest = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return None
    return int(rest.split()[1]) if name.endswith("(postgres") else None
