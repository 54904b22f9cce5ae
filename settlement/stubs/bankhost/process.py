"""Running the bank host as a child process: start and wait until it is ready, stop, kill, start again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from settlement.banks.directory import Directory, default_directory
from settlement.stubs.bankhost.command import ZONE_MASTER_VARIABLE
from settlement.stubs.bankhost.profile import Duplicates

_LOG_TAIL_BYTES = 2_000


class BankHostError(Exception):
    """The bank host did not come up; the message holds the end of its log."""


class BankHostProcess:
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
        self._data_dir = data_dir
        self._zone_master = zone_master
        self._banks = tuple(banks)
        self.ports: dict[str, int] = dict(ports or {})
        self.admin_port = admin_port
        self._duplicates = duplicates
        self._directory_file = directory_file
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None

    @property
    def admin_url(self) -> str:
        """Where its admin HTTP is."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def running(self) -> bool:
        """Whether the child lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._process is None else self._process.pid

    def directory(self, base: Directory | None = None) -> Directory:
        """The directory (default: the built-in one) cut to the banks played here, at their real ports."""
        return (base or default_directory()).at(self.ports)

    async def start(self) -> None:
        """Start the child and wait for its ready line. Raises ``BankHostError``."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "settlement.stubs.bankhost",
                *self._arguments(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, ZONE_MASTER_VARIABLE: self._zone_master.hex()},
            )
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._wait_until_ready(self._process)
        except (TimeoutError, ValueError, KeyError):
            await self.kill()
            raise BankHostError(f"the bank host did not start; its log ends:\n{self._log_tail()}") from None

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:  # it was asked for above
            raise ValueError("no pipe")
        answer = json.loads(await process.stdout.readline())
        self.ports = {str(code): int(port) for code, port in answer["ports"].items()}
        self.admin_port = int(answer["admin"])

    async def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM, and wait; its exit status. A child that does not heed is killed."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reap(process)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, as a crash would be; its exit status."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return await self._reap(process)

    async def _reap(self, process: asyncio.subprocess.Process) -> int:
        # Reads to the end of its output and closes the pipes as well as waiting.
        await process.communicate()
        return process.returncode or 0

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

    @property
    def _log_path(self) -> Path:
        return self._data_dir / "bankhost.log"

    def _log_tail(self) -> str:
        try:
            return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return "(no log)"
