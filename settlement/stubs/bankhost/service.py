"""The bank host process: the banks it plays, their fault panel and the admin HTTP, started and stopped together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aiohttp import web

from settlement.banks.directory import ZONE_KEY_BYTES
from settlement.clock import Clock, SystemClock
from settlement.ids import IdSource, SystemIds
from settlement.stubs.bankhost.admin import build_admin
from settlement.stubs.bankhost.bank import StubBank
from settlement.stubs.bankhost.faults import FaultPanel
from settlement.stubs.bankhost.profile import Profile


class BankHostService:
    """Several banks in one process. ``zone_keys``: 16-byte zone master keys by the profiles' ``zone_key`` names.

    Raises ``ValueError`` when a key is missing or has the wrong size. After ``start`` the real ports are in ``ports``
    and ``admin_port``.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        zone_keys: Mapping[str, bytes],
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        admin_host: str = "127.0.0.1",
        admin_port: int = 0,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        seed: int | None = None,
    ) -> None:
        clock = clock or SystemClock()
        ids = ids or SystemIds(clock)
        for profile in profiles:
            if len(zone_keys.get(profile.zone_key, b"")) != ZONE_KEY_BYTES:
                raise ValueError(f"bank {profile.code}: no zone key of {ZONE_KEY_BYTES} bytes named {profile.zone_key}")
        self.faults = FaultPanel(seed)
        self.banks = {
            profile.code: StubBank(
                profile,
                zone_key=zone_keys[profile.zone_key],
                data_dir=data_dir,
                faults=self.faults,
                clock=clock,
                ids=ids,
            )
            for profile in profiles
        }
        self._host = host
        self._admin_host = admin_host
        self.admin_port = admin_port
        self._runner: web.AppRunner | None = None

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of each bank."""
        return {code: bank.port for code, bank in self.banks.items()}

    @property
    def admin_url(self) -> str:
        """Where the admin HTTP is."""
        return f"http://{self._admin_host}:{self.admin_port}"

    async def start(self) -> None:
        """Open all books and ports."""
        for bank in self.banks.values():
            await bank.start(self._host)
        # No access log: account numbers stand in queries.
        self._runner = web.AppRunner(build_admin(self.banks, self.faults), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._admin_host, self.admin_port)
        await site.start()
        self.admin_port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close ports, finish what is under way, close the books."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await asyncio.gather(*(bank.stop() for bank in self.banks.values()))

    async def run(self, ready: Callable[[BankHostService], None], until: asyncio.Event | None = None) -> None:
        """Start, call ``ready``, and serve until SIGTERM, SIGINT or ``until``."""
        over = until or asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        try:
            await self.start()
            ready(self)
            await over.wait()
        finally:
            await self.stop()
