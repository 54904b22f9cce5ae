"""Bounds on what one bank's misbehaviour may cost: how much is put up with, and how much is written about it."""

from __future__ import annotations

import structlog

from settlement.clock import Clock

log = structlog.get_logger("settlement.banks")


class Allowance:
    """So many events at once, and so many a second for good (a token bucket)."""

    def __init__(self, burst: int, per_s: float, clock: Clock) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._clock = clock
        self._left = float(burst)
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Use one; false when none is left."""
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class BankLog:
    """The log of one link: one line of a kind in so many seconds, with the number of those kept back before it.

    ``kind`` is the event unless given; kinds are few and fixed.
    """

    def __init__(self, bank: str, pause_s: float, clock: Clock) -> None:
        self._bank = bank
        self._pause_s = pause_s
        self._clock = clock
        self._next: dict[str, float] = {}
        self._kept_back: dict[str, int] = {}

    def say(self, level: int, event: str, *, kind: str | None = None, **facts: object) -> None:
        """Write a line (``level``: one of the standard library's), or count it."""
        kind = kind or event
        now = self._clock.monotonic()
        if now < self._next.get(kind, now):
            self._kept_back[kind] = self._kept_back.get(kind, 0) + 1
            return
        self._next[kind] = now + self._pause_s
        log.log(level, event, bank=self._bank, kept_back=self._kept_back.pop(kind, 0), **facts)
