"""One PostgreSQL data directory: made, brought up after whatever happened to it, and shut down.

The caller holds the start lock of the directory; see ``settlement.db.embedded``.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import time
from pathlib import Path

from settlement.db.account import run_as
from settlement.db.errors import EmbeddedError
from settlement.db.placement import Placement, make_folder, open_private, socket_folder
from settlement.db.postmaster import Postmaster, exists, is_alive, is_postmaster, read_postmaster, recorded_pid
from settlement.files import sync_folder

SUPERUSER = "postgres"
CREATION_SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "wal_compression": "on",
    "jit": "off",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # the DETAIL of an error may quote a row: personal data must not reach a log
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
"""Written into postgresql.conf when a data directory is made; an operator may change them there."""

_LOG_BYTES_MAX = 10 * 1_048_576
_LOG_SHOWN_BYTES = 4_096
_POLL_S = 0.02
_STILL_ATTACHED = "pre-existing shared memory block"


def running_pid(place: Placement) -> int | None:
    """The process number of the server that runs on these data; None if none does."""
    pid = recorded_pid(place.pgdata)
    return pid if pid is not None and is_postmaster(pid, place.pgdata) else None


def wait_for_running(place: Placement, deadline: float) -> Postmaster | None:
    """The server that runs already, once it is ready; None if there is none (any more)."""
    while (pid := running_pid(place)) is not None:
        server = read_postmaster(place.pgdata)
        if server is not None and server.ready:
            return server
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the database server (process {pid}) does not become ready; see {_log_file(place)}")
        time.sleep(_POLL_S)
    return None


def launch(place: Placement, deadline: float) -> Postmaster:
    """Start a server where none runs: prepare the data if new, clear what a crash left behind."""
    _check_version(place)
    if not place.pgdata.exists():
        _initialise(place)
    while True:
        socket_dir = socket_folder(place)
        _clear_remains(place, socket_dir)
        pid, log_start = _spawn(place, socket_dir)
        server = _wait_for_ready(place, pid, deadline)
        if server is not None:
            return server
        said = _log_since(place, log_start)
        # after a kill -9 of the server its children need a moment to notice; PostgreSQL refuses to start beside them
        if _STILL_ATTACHED not in said or time.monotonic() > deadline:
            raise EmbeddedError(f"the database server does not start; {_log_file(place)} says:\n{said}")
        time.sleep(_POLL_S * 5)


def ask_to_end(place: Placement) -> int | None:
    """Ask the server, if it runs, for a fast shutdown, without waiting for it; its process number."""
    pid = running_pid(place)
    if pid is not None:
        os.kill(pid, signal.SIGINT)
    return pid


def shut_down(place: Placement, deadline: float) -> None:
    """Fast shutdown of the server, if it runs; returns when it has ended."""
    pid = ask_to_end(place)
    while pid is not None and is_alive(pid):
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the database server (process {pid}) does not end; see {_log_file(place)}")
        time.sleep(_POLL_S)


def secret(place: Placement, name: str) -> str:
    """A password of the server, kept in a file that only we can read; made on first use."""
    path = place.home / name
    descriptor = open_private(path, os.O_RDWR)
    with os.fdopen(descriptor, "r+", encoding="ascii") as file:
        known = file.read().strip()
        if known:
            return known
        fresh = secrets.token_urlsafe(24)
        file.write(f"{fresh}\n")
        file.flush()
        os.fsync(file.fileno())
        return fresh


def _check_version(place: Placement) -> None:
    try:
        made_by = (place.pgdata / "PG_VERSION").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        if place.pgdata.exists():
            raise EmbeddedError(f"{place.pgdata} is not a database (PG_VERSION is missing)") from None
        return
    shown = run_as(place.account, [place.bin / "postgres", "--version"]).stdout
    ours = re.search(r"\) (\d+)", shown)
    if ours is None or ours[1] != made_by:
        raise EmbeddedError(
            f"the data in {place.pgdata} were made by PostgreSQL {made_by}, but this release brings "
            f"{shown.strip()}; move the data over with pg_dump and psql of the old release, "
            "or choose another SETTLEMENT_DATA_DIR"
        )


def _initialise(place: Placement) -> None:
    """Make the data directory under another name first: an interrupted start leaves nothing that looks complete."""
    draft = place.home / "data.new"
    if draft.exists():
        shutil.rmtree(draft)
    make_folder(draft, place.account, 0o700)
    password_file = _lend(place, secret(place, "superuser.password"))
    options = [part for name, value in CREATION_SETTINGS.items() for part in ("--set", f"{name}={value}")]
    try:
        done = run_as(
            place.account,
            [
                *(place.bin / "initdb", "--pgdata", draft, "--username", SUPERUSER, "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", *options),
            ],
        )
    finally:
        password_file.unlink()
    if done.returncode != 0:
        raise EmbeddedError(f"cannot prepare the database in {place.home}: {done.stderr.strip()}")
    draft.rename(place.pgdata)
    sync_folder(place.home)


def _lend(place: Placement, text: str) -> Path:
    """A file that the server's user may read, for a moment."""
    path = place.home / "lent.password"
    path.unlink(missing_ok=True)
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_EXCL), "w", encoding="ascii") as file:
        if place.account is not None:
            os.fchown(file.fileno(), place.account.uid, place.account.gid)
        file.write(f"{text}\n")
    return path


def _clear_remains(place: Placement, socket_dir: Path) -> None:
    """Remove lock files of a server that is gone but whose process number is taken: PostgreSQL would refuse to start.

    The number may be another program's by now, or a dead process's that nobody has waited for. That no server of these
    data runs is known here, and PostgreSQL checks by the shared memory, too, that none of its children is left.
    """
    pid = recorded_pid(place.pgdata)
    if pid is not None and exists(pid):
        (place.pgdata / "postmaster.pid").unlink(missing_ok=True)
    for remains in socket_dir.glob(".s.PGSQL.*"):
        remains.unlink(missing_ok=True)


def _spawn(place: Placement, socket_dir: Path) -> tuple[int, int]:
    """Start the server as a process that is no child of ours; its number, and where its part of the log begins."""
    log = _log_file(place)
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    descriptor = open_private(log, os.O_WRONLY | os.O_APPEND)
    try:
        log_start = os.fstat(descriptor).st_size
        started = run_as(
            place.account,
            [
                *("/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", place.bin / "postgres", "-D", place.pgdata),
                *("-c", "listen_addresses=", "-c", f"unix_socket_directories={socket_dir}", "-c", "port=5432"),
            ],
            stderr=descriptor,
        )
    finally:
        os.close(descriptor)
    return int(started.stdout), log_start


def _wait_for_ready(place: Placement, pid: int, deadline: float) -> Postmaster | None:
    """The server once it is ready; None if it ended."""
    while is_alive(pid):
        server = read_postmaster(place.pgdata)
        if server is not None and server.pid == pid and server.ready:
            return server
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the database server (process {pid}) does not become ready; see {_log_file(place)}")
        time.sleep(_POLL_S)
    return None


def _log_file(place: Placement) -> Path:
    return place.home / "postgres.log"


def _log_since(place: Placement, start: int) -> str:
    with _log_file(place).open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - _LOG_SHOWN_BYTES))
        return file.read().decode("utf-8", "replace").strip()
