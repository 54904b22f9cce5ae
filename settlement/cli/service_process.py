"""Running the service as a child process, for the demonstration and for tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from settlement.childprocess import ChildProcess


class ServiceProcess(ChildProcess):
    """One `settlement serve` process. ``environment``: its settings, over this process's environment.

    ``port`` 0: a free one is taken at the first start, and the same one again later. ``workers``: how many processes
    serve it.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log_path: Path,
        *,
        port: int = 0,
        workers: int = 1,
        start_timeout_s: float = 60.0,
    ) -> None:
        super().__init__(log_path, start_timeout_s=start_timeout_s)
        self._workers = workers
        self._environment = {"SETTLEMENT_LOG_FORMAT": "json", **environment}
        self._port = port

    @property
    def base_url(self) -> str:
        """Where the service listens, once it was started."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start the service and wait until it is ready. Raises ``ChildError``."""
        command = [sys.executable, "-m", "settlement", "serve", "--ready-json", "--watch-stdin", "--host=127.0.0.1"]
        ready = await self.launch([*command, f"--port={self._port}", f"--workers={self._workers}"], self._environment)
        self._port = int(ready["url"].rpartition(":")[2])
