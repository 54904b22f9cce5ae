"""What the simulated programs take from their machine: time that may be set, and identifiers that repeat."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from random import Random

from settlement.clock import epoch_ms
from settlement.ids import uuid7
from settlement.simulation.loop import SimulatedLoop


class SimulatedClock:
    """A machine's clock over virtual time. ``offset_s``: how far it is set wrong; ``monotonic`` never jumps."""

    def __init__(self, loop: SimulatedLoop, begin: dt.datetime) -> None:
        self._loop = loop
        self._begin = begin
        self.offset_s = 0.0

    def now(self) -> dt.datetime:
        """The moment that this machine takes for the present, UTC."""
        return self._begin + dt.timedelta(seconds=self._loop.time() + self.offset_s)

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(seconds)


class SeededIds:
    """Identifiers and tokens from a seed."""

    def __init__(self, clock: SimulatedClock, random: Random) -> None:
        self._clock = clock
        self._random = random

    def uuid(self) -> uuid.UUID:
        """A UUIDv7 of the clock's time."""
        return uuid7(epoch_ms(self._clock.now()), self._random.randbytes(10))

    def token(self, size: int) -> bytes:
        """So many bytes."""
        return self._random.randbytes(size)


def seeded(seed: int, purpose: str) -> Random:
    """A stream of chance of its own for each purpose: what one part draws does not shift another."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - chance that has to repeat
