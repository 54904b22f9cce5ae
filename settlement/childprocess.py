"""A child process that says on one line of JSON when it is ready: start it, stop it, kill it, start it again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

_LOG_TAIL_BYTES = 3_000


class ChildError(Exception):
    """The child did not come up; the message holds the end of its log."""


class ChildProcess:
    """One child process. It must print one line of JSON when it is ready, and end when its standard input does, so that
    it never outlives this process. Its standard error is appended to ``log_path``, or is this process's own (None).
    """

    def __init__(self, log_path: Path | None, *, start_timeout_s: float) -> None:
        self._log_path = log_path
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether the child lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._process is None else self._process.pid

    async def launch(
        self, command: Sequence[str], environment: Mapping[str, str], *, pass_fds: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Start the child and return its ready line. ``pass_fds``: what it inherits open. Raises ``ChildError``."""
        with self._open_log() as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment},
                pass_fds=pass_fds,
            )
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(self._start_timeout_s):
                ready: dict[str, Any] = json.loads(await self._process.stdout.readline())
        except (TimeoutError, ValueError):
            await self.kill()
            raise ChildError(f"{command[0]} did not start; its log ends:\n{self._log_tail()}") from None
        return ready

    async def wait(self) -> int:
        """Wait until the child ends, however it does; its exit status, negative for a signal."""
        assert self._process is not None  # noqa: S101 - it was launched
        # First without its pipes: reading to the end would close its standard input, which tells it to end.
        await self._process.wait()
        return await self._reap(self._process)

    def signal(self, number: int) -> None:
        """Send a signal, if the child lives."""
        if self._process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and wait; its exit status. A child that does not heed is killed."""
        if self._process is None:
            return 0
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reap(self._process)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, as a crash would be; its exit status."""
        if self._process is None:
            return 0
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        return await self._reap(self._process)

    async def _reap(self, process: asyncio.subprocess.Process) -> int:
        # Reads to the end of its output and closes the pipes as well as waiting.
        await process.communicate()
        return process.returncode or 0

    def _open_log(self) -> contextlib.AbstractContextManager[BinaryIO | None]:
        if self._log_path is None:
            return contextlib.nullcontext()
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        return self._log_path.open("ab")

    def _log_tail(self) -> str:
        if self._log_path is None:
            return "(it went to this process's standard error)"
        try:
            return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return "(no log)"
