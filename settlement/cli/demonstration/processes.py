"""The partners of the demonstration as processes of their own: bank hosts, and the service itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from settlement.banks.directory import Directory, bank_file, default_directory
from settlement.cli.service_process import ServiceProcess
from settlement.config import Settings
from settlement.stubs.bankhost.process import BankHostProcess

BANK_GROUPS = (
    ("BOSC", "SPDB", "SRCB", "CMB"),
    ("ICBC", "ABC", "CCB", "BOC"),
    ("PSBC", "BOCOM", "CEB", "SWITCH"),
)
"""Which banks share a process: three processes play eleven banks and the switch."""


@dataclass(frozen=True, slots=True)
class Partners:
    """The running partners: bank hosts, the directory with their real ports, and the service."""

    hosts: tuple[BankHostProcess, ...]
    directory: Directory
    service: ServiceProcess

    @property
    def admin_urls(self) -> list[str]:
        """Where the bank hosts' books and faults are."""
        return [host.admin_url for host in self.hosts]

    def host_of(self, bank: str) -> BankHostProcess:
        """The process that plays a bank."""
        return next(host for host in self.hosts if bank in host.ports)


@contextlib.asynccontextmanager
async def running_partners(settings: Settings, zone_master: bytes, folder: Path, port: int) -> AsyncIterator[Partners]:
    """Start bank hosts, then the service on ``port`` (0: a free one); all are stopped at the end, the service first."""
    hosts = tuple(
        BankHostProcess(folder / f"banks-{number}", zone_master, banks=group)
        for number, group in enumerate(BANK_GROUPS, start=1)
    )
    try:
        await asyncio.gather(*(host.start() for host in hosts))
        ports = {code: port for host in hosts for code, port in host.ports.items()}
        directory = default_directory().at(ports)
        directory_path = folder / "banks.toml"
        directory_path.write_text(bank_file(directory), encoding="utf-8")
        service = ServiceProcess(_environment(settings, directory_path), folder / "service.log", port=port)
        try:
            await service.start()
            yield Partners(hosts, directory, service)
        finally:
            await service.stop()
    finally:
        await asyncio.gather(*(host.stop() for host in hosts))


def _environment(settings: Settings, directory_path: Path) -> dict[str, str]:
    assert settings.database_url is not None  # noqa: S101 - the database was started before
    return {
        "SETTLEMENT_DATABASE_URL": settings.database_url,
        "SETTLEMENT_DATA_DIR": str(settings.data_dir),
        "SETTLEMENT_MASTER_KEY_FILE": str(settings.master_key_path),
        "SETTLEMENT_BANK_DIRECTORY": str(directory_path),
    }
