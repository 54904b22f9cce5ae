"""Time as a dependency, for terminal and service alike; a simulation brings a clock of the same shape."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Protocol

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Clock(Protocol):
    """The present moment, a clock that never goes back, and a way to wait."""

    def now(self) -> dt.datetime:
        """The present moment, UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
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
    """Milliseconds since 1970 of an aware moment, exact."""
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)
