"""The embedded PostgreSQL server as something that can be killed: with all its processes, and started again."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from chaos.processes import children
from settlement.db.cluster import running_pid
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.placement import find_placement


class KillableDatabase:
    """A server of our own under ``data_dir``, with the durability settings of production. All methods block."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._server = EmbeddedPostgres(data_dir)

    def start(self) -> str:
        """Start it, also after a kill; the DSN over its Unix socket. Raises ``EmbeddedError``."""
        return self._server.start()

    def kill(self) -> bool:
        """SIGKILL for the server and every process of its own at once, as when the machine's power fails, only that
        the disk's cache survives. False if it does not run."""
        pid = running_pid(find_placement(self._data_dir))
        if pid is None:
            return False
        for each in [pid, *children(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        return True

    def stop(self, *, keep: bool) -> None:
        """Shut it down; ``keep`` False: its data go too."""
        self._server.stop()
        if not keep:
            self._server.remove()


def socket_of(dsn: str) -> Path:
    """The Unix socket of an embedded server's DSN."""
    query = parse_qs(urlsplit(dsn).query)
    return Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}"


def over_link(dsn: str, port: int) -> str:
    """The same database, reached through a link of this machine."""
    parts = urlsplit(dsn)
    login = parts.netloc.rpartition("@")[0]
    return f"postgresql://{login}@127.0.0.1:{port}{parts.path}?sslmode=disable"
