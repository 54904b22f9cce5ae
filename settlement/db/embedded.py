"""A PostgreSQL server of our own, from a wheel: prepared, started, shared between our processes, and stopped.

It outlives ``kill -9`` of the service and recovers from its own; ``docs/decisions/0002-embedded-postgresql.md`` says
how and why.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from settlement.db.account import environment
from settlement.db.cluster import SUPERUSER, ask_to_end, launch, secret, shut_down, wait_for_running
from settlement.db.errors import EmbeddedError
from settlement.db.placement import Placement, erase, find_placement, installed_binaries, known_home, open_private
from settlement.db.postmaster import Postmaster

ROLE = "settlement"
"""The role and the database of the service; no superuser, so that what works here works on a real server too."""

_PROVISION = r"""
SELECT 'CREATE ROLE settlement LOGIN CREATEDB'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'settlement') \gexec
ALTER ROLE settlement PASSWORD :'password';
SELECT 'CREATE DATABASE settlement OWNER settlement'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'settlement') \gexec
"""
_POLL_S = 0.02


class EmbeddedPostgres:
    """The server of one data directory; any number of processes and objects may share it.

    ``start`` starts it or joins the one that runs already; ``stop`` leaves, and the last to leave shuts it down. A
    process that dies leaves by dying (its file lock ends), and the server runs on until the next ``start``/``stop``.
    All methods block; call them outside the event loop.
    """

    def __init__(self, data_dir: Path, *, start_timeout_s: float = 120.0, stop_timeout_s: float = 120.0) -> None:
        self._data_dir = data_dir.absolute()
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._users: int | None = None
        self._owner_pid = 0

    def start(self) -> str:
        """Make sure that the server runs, and give the address (DSN) of the service's database.

        Also after the server was killed: then it is started again. Raises ``EmbeddedError``.
        """
        deadline = time.monotonic() + self._start_timeout_s
        place = find_placement(self._data_dir)
        with _exclusive(place.home / "start.lock", deadline):
            self._join(place)
            try:
                server = wait_for_running(place, deadline) or launch(place, deadline)
                return _ensure_database(place, server)
            except BaseException:
                self._leave()
                if not _in_use(place):
                    ask_to_end(place)
                raise

    def stop(self) -> None:
        """Leave; if no other process uses the server, shut it down (fast: open transactions are rolled back).

        Does nothing if not started by this object. Raises ``EmbeddedError`` if the server does not end in time.
        """
        if self._users is None:
            return
        deadline = time.monotonic() + self._stop_timeout_s
        place = find_placement(self._data_dir)
        with _exclusive(place.home / "start.lock", deadline):
            self._leave()
            if not _in_use(place):
                shut_down(place, deadline)

    def remove(self) -> bool:
        """Shut the server down and delete its data for good; False if there are none.

        Raises ``EmbeddedError`` if any process uses it.
        """
        home = known_home(self._data_dir)
        if home is None:
            return False
        deadline = time.monotonic() + self._stop_timeout_s
        place = find_placement(self._data_dir)
        with _exclusive(home / "start.lock", deadline):
            if _in_use(place):
                raise EmbeddedError(f"the database in {home} is in use; stop what uses it first")
            shut_down(place, deadline)
            erase(place, self._data_dir)
        return True

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the server."""
        self.stop()

    def _join(self, place: Placement) -> None:
        """Hold a shared lock for as long as we use the server; the kernel drops it when we die."""
        if self._users is not None and self._owner_pid == os.getpid():
            return
        descriptor = open_private(place.home / "users.lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._users, self._owner_pid = descriptor, os.getpid()

    def _leave(self) -> None:
        """Close, not unlock: a forked worker that still holds the descriptor keeps the server up."""
        if self._users is not None:
            os.close(self._users)
            self._users = None


@contextlib.contextmanager
def _exclusive(path: Path, deadline: float) -> Iterator[None]:
    """One starter or stopper at a time."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"another process has been starting or stopping the database for too long ({path})")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(place: Placement) -> bool:
    descriptor = open_private(place.home / "users.lock", os.O_RDWR)
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _ensure_database(place: Placement, server: Postmaster) -> str:
    """Make the service's role and database if they are missing (also after an interrupted first start); the DSN."""
    password = secret(place, "settlement.password")
    trial = _psql(server, ROLE, password, ROLE, "SELECT 1")
    if trial.returncode != 0:
        trial = _psql(
            server,
            SUPERUSER,
            secret(place, "superuser.password"),
            "postgres",
            f"\\set password {password}\n{_PROVISION}",
        )
        if trial.returncode == 0:
            trial = _psql(server, ROLE, password, ROLE, "SELECT 1")
    if trial.returncode != 0:
        raise EmbeddedError(f"cannot set up the database in {place.home}: {trial.stderr.strip()}")
    host = quote(str(server.socket_dir), safe="/")
    return f"postgresql://{ROLE}:{password}@/{ROLE}?host={host}&port={server.port}"


def _psql(
    server: Postmaster, user: str, password: str, database: str, statements: str
) -> subprocess.CompletedProcess[str]:
    """Run statements through psql as ourselves; passwords go by environment and input, where only we can read them."""
    address = {"PGHOST": str(server.socket_dir), "PGPORT": str(server.port), "PGUSER": user, "PGDATABASE": database}
    return subprocess.run(  # noqa: S603  # our own binary, no shell
        [installed_binaries() / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=statements,
        capture_output=True,
        text=True,
        check=False,
        env=environment(address | {"PGPASSWORD": password}),
    )
