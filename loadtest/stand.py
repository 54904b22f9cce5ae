"""The stand: a database, bank hosts and the service as processes of their own, with an operator's hands on all of them.

Load test and bench use the same one. Every ``SETTLEMENT_…`` variable of the environment holds for the service too.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from settlement.bootstrap import Base, open_base, prepare_installation, zone_master_key
from settlement.cli.demonstration.processes import running_partners
from settlement.cli.verify import Proof, prove
from settlement.clock import SystemClock
from settlement.config import Settings, load_settings
from settlement.db.embedded import EmbeddedPostgres
from settlement.security.seal_key import own_seal_certificates
from settlement.stubs.bankhost.client import BankHostAdmin

_POLL_S = 0.05
_PROC = Path("/proc")


class StandError(Exception):
    """The stand cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A running service with its partners.

    ``banks``: bank code → admin of the host that plays it; ``bank_hosts``: the admin addresses. ``processes``: the ids
    of ``service``, ``banks`` and ``database`` (the postmaster; its children are its own), as far as they are known and
    on this machine. ``folder``: where files of the stand may be put; it lasts as long as the stand's data.
    """

    base: Base
    base_url: str
    banks: Mapping[str, BankHostAdmin]
    bank_hosts: tuple[str, ...]
    processes: Mapping[str, tuple[int, ...]]
    folder: Path

    async def open_legs(self) -> int:
        """How many legs are not final."""
        count: int = await self.base.pool.fetchval("select count(*) from leg where next_attempt_at is not null")
        return count

    async def until_final(self, timeout_s: float = 180.0) -> float:
        """Wait until no leg is open; how long it took, in seconds. Raises ``TimeoutError``."""
        began = time.monotonic()
        while left := await self.open_legs():
            if time.monotonic() - began > timeout_s:
                raise TimeoutError(f"{left} legs are still open after {timeout_s:.0f} s")
            await asyncio.sleep(_POLL_S)
        return time.monotonic() - began

    async def verify(self) -> Proof:
        """The proof of `settlement verify`: every invariant of the ledger, and our books against those of the banks."""
        return await prove(self.base.pool, self.bank_hosts, own_seal_certificates(self.base.settings.pki_dir))


@contextlib.asynccontextmanager
async def running_stand(
    folder: Path, *, dsn: str | None = None, port: int = 0, keep: bool = False
) -> AsyncIterator[Stand]:
    """Start everything; stop everything at the end, the service first.

    ``folder`` holds keys, bank books, logs and, without ``dsn`` and ``SETTLEMENT_DATABASE_URL``, the database. A given
    database must be empty, or the one that was used with this folder before. ``keep``: leave an embedded database's
    data; otherwise they are removed (as root they lie outside the folder). Raises ``StandError``, ``EmbeddedError``,
    ``ChildError``, ``ConfigError``, ``DatabaseError``.
    """
    settings, banks_known = _installation(folder, dsn)
    async with contextlib.AsyncExitStack() as stack:
        settings = await stack.enter_async_context(_database(settings, keep=keep))
        base = await stack.enter_async_context(open_base(settings))
        if not banks_known and await base.pool.fetchval("select exists (select from settlement)"):
            raise StandError(
                "the database holds settlements that banks of another folder took part in, so the books could never "
                "agree; give an empty database"
            )
        partners = await stack.enter_async_context(
            running_partners(settings, zone_master_key(base.keys), settings.data_dir.parent, port)
        )
        processes = {
            "service": _known(partners.service.pid),
            "banks": tuple(pid for host in partners.hosts for pid in _known(host.pid)),
            "database": await _postmaster(base),
        }
        banks, hosts = await _admins(stack, partners.admin_urls)
        yield Stand(
            base=base,
            base_url=partners.service.base_url,
            banks=banks,
            bank_hosts=hosts,
            processes=processes,
            folder=folder,
        )


@contextlib.asynccontextmanager
async def attached_stand(base_url: str, bank_hosts: Sequence[str], folder: Path) -> AsyncIterator[Stand]:
    """A service and bank hosts that run already, such as those of `settlement demo --stay`; they are left running.

    The settings of the environment are those of that installation: its ``SETTLEMENT_DATA_DIR`` (keys, and the embedded
    database, which is shared) or ``SETTLEMENT_DATABASE_URL``. Raises as ``running_stand``.
    """
    settings = load_settings(os.environ)
    if not settings.pki_dir.exists():
        raise StandError(f"{settings.data_dir} holds no installation; set SETTLEMENT_DATA_DIR to that of the service")
    async with contextlib.AsyncExitStack() as stack:
        settings = await stack.enter_async_context(_database(settings, keep=True))
        base = await stack.enter_async_context(open_base(settings))
        banks, hosts = await _admins(stack, bank_hosts)
        processes = {"database": await _postmaster(base)}
        yield Stand(base=base, base_url=base_url, banks=banks, bank_hosts=hosts, processes=processes, folder=folder)


def _installation(folder: Path, dsn: str | None) -> tuple[Settings, bool]:
    """Keys and authorities in the folder; and whether banks have kept books there before."""
    settings = dataclasses.replace(load_settings(os.environ), data_dir=folder.absolute() / "data")
    if dsn is not None:
        settings = dataclasses.replace(settings, database_url=dsn)
    prepare_installation(settings, SystemClock())
    return settings, (folder / "banks-1").exists()


@contextlib.asynccontextmanager
async def _database(settings: Settings, *, keep: bool) -> AsyncIterator[Settings]:
    """The settings with an address; an embedded server where there is none. Its start and stop block, so: a thread."""
    if settings.database_url is not None:
        yield settings
        return
    server = EmbeddedPostgres(settings.data_dir)
    try:
        yield dataclasses.replace(settings, database_url=await asyncio.to_thread(server.start))
    finally:
        await asyncio.to_thread(server.stop)
        if not keep:
            await asyncio.to_thread(server.remove)


async def _admins(
    stack: contextlib.AsyncExitStack, urls: Sequence[str]
) -> tuple[dict[str, BankHostAdmin], tuple[str, ...]]:
    banks: dict[str, BankHostAdmin] = {}
    for url in urls:
        admin = await stack.enter_async_context(BankHostAdmin(url))
        banks |= {summary.bank: admin for summary in await admin.summaries()}
    return banks, tuple(urls)


def _known(pid: int | None) -> tuple[int, ...]:
    return () if pid is None else (pid,)


async def _postmaster(base: Base) -> tuple[int, ...]:
    """The database server's process, if it runs on this machine: the parent of the process that serves us."""
    ours: int | None = await base.pool.fetchval(
        "select pg_backend_pid() where coalesce(inet_server_addr() <<= any ('{127.0.0.0/8,::1}'), true)"
    )
    if ours is None:
        return ()
    try:
        name, _, rest = (_PROC / str(ours) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return ()
    return (int(rest.split()[1]),) if name.endswith("(postgres") else ()
