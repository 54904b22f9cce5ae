"""Identifiers and randomness as a dependency: time-ordered UUIDs and tokens, replayable in a simulation."""

from __future__ import annotations

import secrets
import uuid
from typing import Protocol

from settlement.clock import Clock, epoch_ms


class IdSource(Protocol):
    """Where identifiers and random bytes come from."""

    def uuid(self) -> uuid.UUID:
        """A new time-ordered identifier (UUID version 7)."""
        ...

    def token(self, size: int) -> bytes:
        """So many unpredictable bytes."""
        ...


class SystemIds:
    """UUID version 7 (RFC 9562) from the clock and the operating system's randomness."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def uuid(self) -> uuid.UUID:
        """A new UUIDv7: 48 bits of milliseconds, then random bits."""
        return uuid7(epoch_ms(self._clock.now()), secrets.token_bytes(10))

    def token(self, size: int) -> bytes:
        """``secrets.token_bytes``."""
        return secrets.token_bytes(size)


def uuid7(time_ms: int, random: bytes) -> uuid.UUID:
    """Compose a UUIDv7 of a time in ms and ten random bytes."""
    value = (time_ms & ((1 << 48) - 1)) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return uuid.UUID(int=value)
