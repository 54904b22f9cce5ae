"""A clock for tests: sleeping takes no time, what was slept is written down, and the wall clock can be set."""

from __future__ import annotations

import asyncio
import datetime as dt


class SteppingClock:
    """Moves by being slept on."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.sleeps: list[float] = []
        self.set_by = dt.timedelta()
        self._begun = dt.datetime.now(dt.UTC)

    def now(self) -> dt.datetime:
        return self._begun + dt.timedelta(seconds=self.passed) + self.set_by

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.passed += seconds
        await asyncio.sleep(0.001)  # others come to their turn
