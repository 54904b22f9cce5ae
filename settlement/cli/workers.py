"""The parent of several workers: holds the listening sockets, starts the workers, restarts those that die, ends all."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from settlement.childprocess import ChildError, ChildProcess
from settlement.cli.serving import FORCED_MARGIN_S, Up
from settlement.cli.workers_metrics import forget_worker, make_folder
from settlement.config import Settings, environment_of

START_TIMEOUT_S = 60.0
BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 30.0
STEADY_S = 60.0
"""A worker that served so long has shown that it can: its next death is the first again."""
_KILLED_MARGIN_S = 1.0

log = structlog.get_logger("settlement.serve")


class Worker(ChildProcess):
    """One worker process. ``place`` is its number, the same for whoever takes its place."""

    def __init__(self, place: int, sockets: Sequence[socket.socket], settings: Settings, metrics: Path) -> None:
        super().__init__(None, start_timeout_s=START_TIMEOUT_S)
        self.place = place
        self._descriptors = [each.fileno() for each in sockets]
        self._environment = environment_of(settings)
        self._metrics = metrics

    async def start(self) -> Up:
        """Start it and wait until it serves. Raises ``ChildError``."""
        command = [sys.executable, "-m", "settlement.cli.workers_child", f"--place={self.place}"]
        command += [f"--socket={each}" for each in self._descriptors]
        command.append(f"--metrics={self._metrics}")
        ready = await self.launch(command, self._environment, pass_fds=self._descriptors)
        return Up(ready["banks_up"], ready["banks"])


class Workers:
    """``settings.workers`` processes that accept from the same sockets.

    Whoever is free takes the next connection; what a dying worker has not accepted yet waits in the shared queue for
    the others. ``settings.database_url`` must be filled in and the database be migrated. ``metrics``: a folder of
    their own.
    """

    def __init__(self, sockets: Sequence[socket.socket], settings: Settings, metrics: Path) -> None:
        self._sockets = sockets
        self._settings = settings
        self._metrics = metrics
        self._workers = [Worker(place, sockets, settings, metrics) for place in range(settings.workers)]
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The processes of the workers that live."""
        return [worker.pid for worker in self._workers if worker.running and worker.pid is not None]

    async def start(self) -> Up:
        """Start all and wait until all serve; the banks as the worker with the fewest links sees them.

        Raises ``ChildError`` when one does not come up; then none is left running.
        """
        make_folder(self._metrics)
        loop = asyncio.get_running_loop()
        started = [(worker, loop.time(), asyncio.create_task(worker.start())) for worker in self._workers]
        try:
            ups = [await task for _, _, task in started]
        except BaseException:
            for worker, _, task in started:
                task.cancel()
                await worker.kill()
            await asyncio.gather(*(task for _, _, task in started), return_exceptions=True)
            raise
        self._keepers = [
            asyncio.create_task(self._keep(worker, since), name=f"worker-{worker.place}")
            for worker, since, _ in started
        ]
        return min(ups, key=lambda up: up.banks_up)

    async def stop(self) -> bool:
        """Let all drain to the one deadline; those that do not heed are killed. Whether all ended by themselves."""
        self._stopping.set()
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        # Not before the workers were told; once the last of them closes, the kernel refuses what it still holds.
        for each in self._sockets:
            each.close()
        patience_s = self._settings.drain_s + FORCED_MARGIN_S + _KILLED_MARGIN_S
        _, late = await asyncio.wait(self._keepers, timeout=patience_s)
        if late:
            log.error("workers_killed", after_s=patience_s, workers=sorted(task.get_name() for task in late))
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
            await asyncio.wait(late)
        return not late

    async def _keep(self, worker: Worker, since: float) -> None:
        """Restart this worker whenever it ends, until the stop."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            pid, status = worker.pid, await worker.wait()
            forget_worker(self._metrics, worker.place)
            if self._stopping.is_set():
                return
            deaths = 1 if loop.time() - since >= STEADY_S else deaths + 1
            pause_s = min(BACKOFF_FIRST_S * 2.0 ** min(deaths - 1, 20), BACKOFF_MOST_S)
            log.error("worker_died", worker=worker.place, pid=pid, status=status, deaths=deaths, again_in_s=pause_s)
            if await self._stopped_within(pause_s):
                return
            since = loop.time()
            await self._start_again(worker)

    async def _start_again(self, worker: Worker) -> None:
        """Also while it starts, a worker is told to stop, and ends: the start then fails, which is no failure."""
        try:
            await worker.start()
        except ChildError as error:
            if not self._stopping.is_set():
                log.error("worker_not_started", worker=worker.place, reason=str(error))  # noqa: TRY400 - expected
        else:
            log.info("worker_restarted", worker=worker.place, pid=worker.pid)
            if self._stopping.is_set():
                worker.signal(signal.SIGTERM)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
