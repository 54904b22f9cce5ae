"""Running the service as a child process: start and wait until it is ready, stop, kill, start again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_LOG_TAIL_BYTES = 3_000


class ServiceProcessError(Exception):
    """The service did not come up; the message holds the end of its log."""


class ServiceProcess:
    """One `settlement serve` process. ``environment``: its settings, over this process's environment.

    ``port`` 0: a free one is taken at the first start, and the same one again later. The child ends when this
    process does. Its log is appended to ``log_path``.
    """

    def __init__(
        self, environment: Mapping[str, str], log_path: Path, *, port: int = 0, start_timeout_s: float = 60.0
    ) -> None:
        self._environment = dict(environment)
        self._log_path = log_path
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._port = port

    @property
    def base_url(self) -> str:
        """Where the service listens, once it was started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the child and wait for its ready line. Raises ``ServiceProcessError``."""
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "settlement", "serve", "--ready-json", "--watch-stdin"]
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                "--host=127.0.0.1",
                f"--port={self._port}",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "SETTLEMENT_LOG_FORMAT": "json", **self._environment},
            )
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._start_timeout_s):
                line = await self._process.stdout.readline()
        if not line:
            await self.kill()
            raise ServiceProcessError(f"the service did not start; the end of {self._log_path}:\n{self._log_tail()}")
        self._port = int(json.loads(line)["url"].rpartition(":")[2])

    async def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and wait for the drain; its exit status. A child that does not heed is killed."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reap()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, as a crash would be; its exit status."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self._reap()

    async def _reap(self) -> int:
        process = self._process
        if process is None:
            return 0
        # Reads to the end of its output and closes the pipes as well as waiting.
        await process.communicate()
        return process.returncode or 0

    def _log_tail(self) -> str:
        try:
            return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return "(no log)"
