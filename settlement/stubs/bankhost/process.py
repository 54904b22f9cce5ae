"""Running the bank host as a child process: start and wait until it is ready, stop, kill, start again."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from settlement.banks.directory import Directory, default_directory
from settlement.childprocess import ChildProcess
from settlement.stubs.bankhost.command import ZONE_MASTER_VARIABLE
from settlement.stubs.bankhost.profile import Duplicates


class BankHostProcess(ChildProcess):
    """One bank host process. ``zone_master``: 16 bytes, the same from which the service derives its zone keys.

    Free ports are taken at the first start, and the same ones again at every later start. The child ends when this
    process does. Its log is ``<data_dir>/bankhost.log``.
    """

    def __init__(
        self,
        data_dir: Path,
        zone_master: bytes,
        *,
        banks: Sequence[str] = ("all",),
        ports: Mapping[str, int] | None = None,
        admin_port: int = 0,
        duplicates: Duplicates | None = None,
        directory_file: Path | None = None,
        start_timeout_s: float = 30.0,
    ) -> None:
        super().__init__(data_dir / "bankhost.log", start_timeout_s=start_timeout_s)
        self._data_dir = data_dir
        self._zone_master = zone_master
        self._banks = tuple(banks)
        self.ports: dict[str, int] = dict(ports or {})
        self.admin_port = admin_port
        self._duplicates = duplicates
        self._directory_file = directory_file

    @property
    def admin_url(self) -> str:
        """Where its admin HTTP is."""
        return f"http://127.0.0.1:{self.admin_port}"

    def directory(self, base: Directory | None = None) -> Directory:
        """The directory (default: the built-in one) cut to the banks played here, at their real ports."""
        return (base or default_directory()).at(self.ports)

    async def start(self) -> None:
        """Start the host and wait until it is ready. Raises ``ChildError``."""
        command = [sys.executable, "-m", "settlement.stubs.bankhost", *self._arguments()]
        ready = await self.launch(command, {ZONE_MASTER_VARIABLE: self._zone_master.hex()})
        self.ports = {str(code): int(port) for code, port in ready["ports"].items()}
        self.admin_port = int(ready["admin"])

    def _arguments(self) -> list[str]:
        arguments = ["--data-dir", str(self._data_dir), "--free-ports", "--watch-stdin"]
        arguments += ["--admin-port", str(self.admin_port)]
        for bank in self._banks:
            arguments += ["--bank", bank]
        for code, port in self.ports.items():
            arguments += ["--port", f"{code}={port}"]
        if self._duplicates is not None:
            arguments += ["--duplicates", str(self._duplicates)]
        if self._directory_file is not None:
            arguments += ["--directory", str(self._directory_file)]
        return arguments
