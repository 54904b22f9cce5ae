"""Driving the load process from the bench: orders in, tallies out, and everybody's CPU meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from bench import cpu
from bench.cells import BenchError
from bench.load.jobs import (
    Closed,
    Failed,
    Go,
    Job,
    LoopJob,
    Order,
    Plan,
    Ready,
    Record,
    Reply,
    ShotsJob,
    Tally,
)

_LINE_BYTES_MAX = 256 * 1_048_576
_PREPARE_S = 180.0
_GRACE_S = 60.0
_HEAD_START_S = 0.05
"""From the word to the start, so that the word has arrived by then."""

R = TypeVar("R", Ready, Tally, Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of the load. ``cpu_s``: CPU seconds by party while it ran, ``clients`` being the load process.

    ``others_share``: what share of the machine's cores others used or were given meanwhile; None where unknown.
    """

    tally: Tally
    cpu_s: Mapping[str, float]
    others_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shooting:
    """One run of the light load. ``samples``: everybody's CPU at the start and at each mark."""

    record: Record
    samples: list[cpu.Sample]


class Loader:
    """The load process: started at the first order, and again when it has died. Its messages go to ``log_path``."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, job: LoopJob, plan: Plan, parties: Mapping[str, Iterable[int]]) -> Measured:
        """Prepare and run a job. ``parties``: whose CPU is read. Raises ``BenchError`` when it comes to nothing."""
        await self._prepare(job, plan)
        duration_s = plan.seconds if isinstance(plan, Closed) else max(plan.offsets_s, default=0.0)
        before, began = cpu.sample(parties), time.monotonic()
        start_at = began + _HEAD_START_S
        await self._send(Go(start_at=start_at))
        tally = await self._hear(Tally, duration_s + _GRACE_S)
        after = cpu.sample(parties)
        others = cpu.others_share(before, after, tally.cpu_s, time.monotonic() - began)
        return Measured(tally=tally, cpu_s=after.since(before) | {"clients": tally.cpu_s}, others_share=others)

    async def shoot(
        self, job: ShotsJob, plan: Plan, parties: Mapping[str, Iterable[int]], marks_s: Sequence[float] = ()
    ) -> Shooting:
        """Prepare and run a light load; the parties' CPU is read at the start and at ``marks_s`` after it, in order."""
        await self._prepare(job, plan)
        duration_s = plan.seconds if isinstance(plan, Closed) else max(plan.offsets_s, default=0.0)
        start_at = time.monotonic() + _HEAD_START_S
        await self._send(Go(start_at=start_at))
        samples = []
        for mark_s in (0.0, *marks_s):
            await asyncio.sleep(max(0.0, start_at + mark_s - time.monotonic()))
            samples.append(cpu.sample(parties))
        return Shooting(record=await self._hear(Record, duration_s + _GRACE_S), samples=samples)

    async def _prepare(self, job: Job, plan: Plan) -> None:
        await self._send(Order(job=job, plan=plan))
        await self._hear(Ready, _PREPARE_S)

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()

    async def _send(self, message: Order | Go) -> None:
        process = await self._running()
        assert process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(ConnectionError):  # then there will be no answer either
            process.stdin.write(msgspec.json.encode(message) + b"\n")
            await process.stdin.drain()

    async def _hear(self, kind: type[R], within_s: float) -> R:
        process = await self._running()
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(within_s):
                line = await process.stdout.readline()
        except TimeoutError:
            await self.stop()
            raise BenchError(f"the load process said nothing for {within_s:.0f} s") from None
        reply: Reply | None = msgspec.json.decode(line, type=Reply) if line else None
        if isinstance(reply, kind):
            return reply
        if isinstance(reply, Failed):
            raise BenchError(f"the load process failed: {reply.reason}")
        await self.stop()
        raise BenchError("the load process ended" if reply is None else "the load process is out of step")

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            with self._log_path.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "bench.load"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    limit=_LINE_BYTES_MAX,
                )
        return self._process


@contextlib.asynccontextmanager
async def running_loader(log_path: Path) -> AsyncIterator[Loader]:
    """A loader that is stopped at the end."""
    loader = Loader(log_path)
    try:
        yield loader
    finally:
        await loader.stop()
