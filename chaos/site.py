"""The site of a chaos run: database, bank hosts and services as processes to be killed, and links between them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from chaos.database import KillableDatabase, over_link, socket_of
from chaos.keeper import Keeper, Tell
from chaos.link import Link
from chaos.schedule import DATABASE_LINK, TILL_LINK, Targets
from loadtest.stand import Stand
from settlement.banks.directory import Directory, bank_file, default_directory
from settlement.bootstrap import open_base, prepare_installation, zone_master_key
from settlement.cli.demonstration.processes import BANK_GROUPS
from settlement.cli.service_process import ServiceProcess
from settlement.clock import SystemClock
from settlement.config import Settings, load_settings
from settlement.stubs.bankhost.client import BankHostAdmin
from settlement.stubs.bankhost.process import BankHostProcess

LEASE_MS = 4_000
"""The claims' lease here: short, so that a paused service is past it after seconds."""
_BANK_TIMEOUT_MS = 3_000
_BANK_DELAY_MS = 100
"""Each way: a bank that answers at once leaves hardly a moment in which something can go wrong."""
_UP_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that takes part. ``stand``: the operator's hands, which reach the database by a way of their own.

    ``services`` and ``hosts``: the kept processes, in the order of their numbers; ``host_of``: by bank, the number of
    its host; ``links``: by name, those of the banks under the bank's code.
    """

    stand: Stand
    database: KillableDatabase
    services: tuple[Keeper, ...]
    hosts: tuple[Keeper, ...]
    links: dict[str, Link]
    workers: int

    @property
    def targets(self) -> Targets:
        """What a schedule can hit."""
        banks = tuple(name for name in self.links if name not in {TILL_LINK, DATABASE_LINK})
        return Targets(
            services=len(self.services), workers=self.workers, hosts=len(self.hosts), banks=banks, lease_ms=LEASE_MS
        )

    async def all_up(self) -> None:
        """Wait until every process is at work. Raises ``TimeoutError``."""
        for keeper in (*self.services, *self.hosts):
            await keeper.until_at_work(_UP_S)


@contextlib.asynccontextmanager
async def open_site(folder: Path, services: int, workers: int, tell: Tell) -> AsyncIterator[Site]:
    """Start everything under ``folder``; stop and remove it at the end. ``tell``: see ``Keeper``.

    Raises ``EmbeddedError``, ``ChildError``, ``ConfigError``, ``DatabaseError``.
    """
    settings = _installation(folder)
    async with contextlib.AsyncExitStack() as stack:
        database = KillableDatabase(settings.data_dir)
        stack.push_async_callback(asyncio.to_thread, database.stop, keep=False)
        dsn = await asyncio.to_thread(database.start)
        base = await stack.enter_async_context(open_base(dataclasses.replace(settings, database_url=dsn)))
        socket = socket_of(dsn)
        database_link = await stack.enter_async_context(Link(DATABASE_LINK, lambda: [socket]))
        hosts = await _hosts(stack, folder, zone_master_key(base.keys))
        links, directory = await _bank_links(stack, hosts)
        environment = _environment(settings, over_link(dsn, database_link.port), _write(directory, folder))
        running = await _services(stack, folder, environment, services, workers)
        ways = [("127.0.0.1", int(each.base_url.rpartition(":")[2])) for each in running]
        till_link = await stack.enter_async_context(Link(TILL_LINK, lambda: ways))
        admins = {host: await stack.enter_async_context(BankHostAdmin(host.admin_url)) for host in hosts}
        keepers = [
            *(Keeper(f"service {number}", child, tell, workers=workers) for number, child in enumerate(running)),
            *(Keeper(f"bank host {number}", child, tell) for number, child in enumerate(hosts)),
        ]
        for keeper in keepers:
            keeper.keep()
            stack.push_async_callback(keeper.leave)
        yield Site(
            stand=Stand(
                base=base,
                base_url=f"http://127.0.0.1:{till_link.port}",
                banks={bank: admins[host] for host in hosts for bank in host.ports},
                bank_hosts=tuple(host.admin_url for host in hosts),
                processes={},
                folder=folder,
            ),
            database=database,
            services=tuple(keepers[:services]),
            hosts=tuple(keepers[services:]),
            workers=workers,
            links={TILL_LINK: till_link, DATABASE_LINK: database_link, **links},
        )


def _installation(folder: Path) -> Settings:
    """Keys and authorities in the folder."""
    settings = dataclasses.replace(load_settings(os.environ), data_dir=folder.absolute() / "data")
    prepare_installation(settings, SystemClock())
    return settings


async def _hosts(stack: contextlib.AsyncExitStack, folder: Path, zone_master: bytes) -> list[BankHostProcess]:
    hosts = [
        BankHostProcess(folder / f"banks-{number}", zone_master, banks=group)
        for number, group in enumerate(BANK_GROUPS)
    ]
    for host in hosts:
        stack.push_async_callback(host.stop)
    await asyncio.gather(*(host.start() for host in hosts))
    return hosts


async def _bank_links(
    stack: contextlib.AsyncExitStack, hosts: list[BankHostProcess]
) -> tuple[dict[str, Link], Directory]:
    """A link before each bank, and the directory that leads the services to them."""
    links = {}
    for host in hosts:
        for bank, port in host.ports.items():
            way = ("127.0.0.1", port)
            links[bank] = await stack.enter_async_context(Link(bank, lambda way=way: [way], delay_ms=_BANK_DELAY_MS))  # type: ignore[misc]
    directory = default_directory().at({bank: link.port for bank, link in links.items()})
    patient = {code: dataclasses.replace(bank, timeout_ms=_BANK_TIMEOUT_MS) for code, bank in directory.banks.items()}
    return links, dataclasses.replace(directory, banks=patient)


def _write(directory: Directory, folder: Path) -> Path:
    path = folder / "banks.toml"
    path.write_text(bank_file(directory), encoding="utf-8")
    return path


def _environment(settings: Settings, dsn: str, directory: Path) -> dict[str, str]:
    return {
        "SETTLEMENT_DATABASE_URL": dsn,
        "SETTLEMENT_DATA_DIR": str(settings.data_dir),
        "SETTLEMENT_MASTER_KEY_FILE": str(settings.master_key_path),
        "SETTLEMENT_BANK_DIRECTORY": str(directory),
        "SETTLEMENT_CLAIM_LEASE_MS": str(LEASE_MS),
    }


async def _services(
    stack: contextlib.AsyncExitStack, folder: Path, environment: dict[str, str], count: int, workers: int
) -> list[ServiceProcess]:
    services = [ServiceProcess(environment, service_log(folder, number), workers=workers) for number in range(count)]
    for service in services:
        stack.push_async_callback(service.stop)
        await service.start()
    return services


def service_log(folder: Path, number: int) -> Path:
    """Where a service and its workers write."""
    return folder / f"service-{number}.log"


def died(site: Site) -> dict[str, int]:
    """By name, how often a process ended that nobody here had killed; workers as their parents have written down."""
    found = {each.name: each.died for each in (*site.services, *site.hosts) if each.died}
    for number, keeper in enumerate(site.services):
        log = service_log(site.stand.folder, number).read_text(encoding="utf-8", errors="replace")
        # A worker that cannot start yet, because its database is away, is written down as both.
        not_started = log.count('"event": "worker_not_started"')
        by_itself = log.count('"event": "worker_died"') - not_started - keeper.workers_killed
        if by_itself > 0:
            found[f"workers of {keeper.name}"] = by_itself
    return found
