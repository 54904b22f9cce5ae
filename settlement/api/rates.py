"""How often one terminal may ask in the long run: a bucket of tokens each, filled at a steady rate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

BUCKETS_MAX = 8_192
"""Terminals remembered at most; one that is forgotten begins with a full bucket."""


class Rates:
    """``rate``: tokens per second; 0: no limit · ``burst``: a bucket's size · ``now``: monotonic seconds."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, terminal: str) -> bool:
        """One token of this terminal's; False where it has none left."""
        if not self._rate:
            return True
        now = self._now()
        tokens, at = self._buckets.get(terminal, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        enough = tokens >= 1.0
        self._buckets[terminal] = (tokens - 1.0 if enough else tokens, now)
        self._buckets.move_to_end(terminal)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return enough
