"""The two ways to load: clients that wait for their answer, and arrivals that do not wait for anybody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from bench.load.jobs import SETTLED, Tally

Operation: TypeAlias = Callable[[], Awaitable[str]]
"""One operation; returns its outcome, ``settled`` when it ended as it should."""


class Tallying:
    """Collects what happens from the start on."""

    def __init__(self, start_at: float) -> None:
        self._start_at = start_at
        self._cpu_at_start = time.process_time()
        self._latencies_ms: list[float] = []
        self._late_ms: list[float] = []
        self._outcomes: Counter[str] = Counter()
        self._last = start_at

    async def run(self, operation: Operation, since: float) -> None:
        """Run one operation; its latency counts from ``since`` (monotonic seconds)."""
        outcome = await operation()
        self._last = time.monotonic()
        self._outcomes[outcome] += 1
        if outcome == SETTLED:
            self._latencies_ms.append((self._last - since) * 1_000)

    def late(self, seconds: float) -> None:
        """Note how late a planned operation begins."""
        self._late_ms.append(seconds * 1_000)

    def result(self, begun: list[int], *, ran_out: bool = False) -> Tally:
        """All of it."""
        return Tally(
            latencies_ms=self._latencies_ms,
            late_ms=self._late_ms,
            outcomes=dict(self._outcomes),
            elapsed_s=self._last - self._start_at,
            cpu_s=time.process_time() - self._cpu_at_start,
            begun=begun,
            ran_out=ran_out,
        )


async def closed_loop(clients: Sequence[Iterable[Operation]], start_at: float, seconds: float) -> Tally:
    """Each client works off its operations, one after the other, until the time is over.

    When one has none left, all stop: with fewer clients the figure would mean something else.
    """
    await _until(start_at)
    tallying = Tallying(start_at)
    end = start_at + seconds
    begun = [0] * len(clients)
    ran_out = False

    async def client(number: int) -> None:
        nonlocal ran_out
        for operation in clients[number]:
            now = time.monotonic()
            if now >= end or ran_out:
                return
            begun[number] += 1
            await tallying.run(operation, now)
        ran_out = ran_out or time.monotonic() < end

    await asyncio.gather(*(client(number) for number in range(len(clients))))
    return tallying.result(begun, ran_out=ran_out)


async def open_loop(operations: Sequence[Operation], start_at: float, offsets_s: Sequence[float]) -> Tally:
    """Each operation begins at its planned moment; its latency counts from then, also when it begins late.

    Raises ``ValueError`` unless there are as many operations as moments.
    """
    if len(operations) != len(offsets_s):
        raise ValueError(f"{len(operations)} operations for {len(offsets_s)} planned moments")
    await _until(start_at)
    tallying = Tallying(start_at)

    async def arrival(operation: Operation, planned: float) -> None:
        tallying.late(time.monotonic() - planned)
        await tallying.run(operation, planned)

    async with asyncio.TaskGroup() as group:
        for operation, offset_s in zip(operations, offsets_s, strict=True):
            await _until(start_at + offset_s)
            group.create_task(arrival(operation, start_at + offset_s))
    return tallying.result([len(operations)])


async def _until(moment: float) -> None:
    # A whole turn of the loop even when the moment has passed: those that are under way must not starve.
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
