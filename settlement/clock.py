"""Time as a dependency: the one place where the service reads a clock, so that a simulation can own it."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """What the service needs of time."""

    def now(self) -> dt.datetime:
        """The present moment, UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for leases and time-outs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """The present moment, UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """``time.monotonic()``."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """``asyncio.sleep``."""
        await asyncio.sleep(seconds)


def epoch_ms(moment: dt.datetime) -> int:
    """Milliseconds since 1970 of an aware moment, exact (no float)."""
    delta = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000 + delta.microseconds // 1_000
