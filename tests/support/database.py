"""Databases for tests: one server per session, one migrated template, a fresh copy for each test that asks."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from settlement.db.embedded import EmbeddedPostgres
from settlement.db.errors import EmbeddedError
from settlement.db.migrate import migrate

SERVER_VARIABLE = "SETTLEMENT_TEST_DATABASE_URL"
"""An address of a server whose role may create databases; without it the tests start an embedded one."""

_FOLDER_PREFIX = "settlement-test-"
_DROP_TRIES = 100
_MEMORY_DISK = Path("/dev/shm")  # noqa: S108  # the system's own; the folder in it is made for us alone
_MEMORY_BYTES_MIN = 3 * 1_073_741_824
"""What must be free there: the servers of a few workers, with their logs of changes, stay well below."""


class TestDatabases:
    """Makes and drops databases on one server. ``url`` is the address that they are made through."""

    __test__ = False

    def __init__(self, url: str) -> None:
        self.url = url
        self._prefix = f"settlement_test_{secrets.token_hex(4)}"
        self._made = 0
        self._template: str | None = None
        # Copying files waits for the disk, which is why it is not the server's default; in memory it is far quicker.
        self._strategy = "FILE_COPY" if str(_MEMORY_DISK) in unquote(url) else "WAL_LOG"

    async def create(self, *, migrated: bool = True) -> str:
        """A new database, a copy of the migrated template or an empty one; its DSN."""
        if not migrated:
            return await self._create_from("template1")
        if self._template is None:
            dsn = await self._create_from("template1")
            connection = await asyncpg.connect(dsn)
            try:
                await migrate(connection)
            finally:
                await connection.close()
            self._template = database_name(dsn)
        return await self._create_from(self._template)

    async def drop(self, dsn: str) -> None:
        """Drop a database, whoever is still connected."""
        await self._drop(database_name(dsn))

    async def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            await self._drop(self._template)
            self._template = None

    async def _drop(self, name: str) -> None:
        for patience in range(_DROP_TRIES, -1, -1):
            try:
                await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectInUseError):
                # The server's own vacuum may be at work in it, which we may not end; it soon ends by itself.
                if not patience:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def _create_from(self, template: str) -> str:
        self._made += 1
        name = f"{self._prefix}_{self._made}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY {self._strategy}')
        return with_database(self.url, name)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def with_database(url: str, name: str) -> str:
    """The same address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def database_name(url: str) -> str:
    """The database of an address."""
    return urlsplit(url).path.lstrip("/")


@contextlib.contextmanager
def session_server() -> Iterator[str]:
    """The address of the server for this test session."""
    if given := os.environ.get(SERVER_VARIABLE):
        yield given
        return
    _remove_leftovers()
    with open_folder() as folder, EmbeddedPostgres(folder) as server:
        yield server.start()


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder for an embedded server: as root it runs as a user of its own, which has to enter.

    (pytest's ``tmp_path`` is closed to others, and closed again by each session that starts.)
    """
    with _one_at_a_time():
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=_place()))
        folder.chmod(0o755)
        lock = (folder / "session.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_SH)
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _place() -> Path:
    """Where servers of tests keep their data: in memory if there is plenty, as no test turns off the machine."""
    with contextlib.suppress(OSError):
        memory = os.statvfs(_MEMORY_DISK)
        if os.access(_MEMORY_DISK, os.W_OK | os.X_OK) and memory.f_bavail * memory.f_frsize >= _MEMORY_BYTES_MIN:
            return _MEMORY_DISK
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Between making a folder and locking it, nobody looks for leftovers."""
    with (Path(tempfile.gettempdir()) / f"{_FOLDER_PREFIX}{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.asynccontextmanager
async def temporary_databases(url: str) -> AsyncIterator[TestDatabases]:
    """``TestDatabases`` whose template is dropped at the end."""
    databases = TestDatabases(url)
    try:
        yield databases
    finally:
        await databases.close()


def _remove_leftovers() -> None:
    """Stop and remove the servers of test sessions that were killed: nobody holds their lock any more."""
    with _one_at_a_time():
        for place in {Path(tempfile.gettempdir()), _MEMORY_DISK}:
            for folder in place.glob(f"{_FOLDER_PREFIX}*/"):
                with contextlib.suppress(OSError, EmbeddedError), (folder / "session.lock").open("r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    EmbeddedPostgres(folder).remove()
                    shutil.rmtree(folder, ignore_errors=True)
