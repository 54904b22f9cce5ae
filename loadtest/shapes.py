"""The shapes of a load: how many patients come in a second, over the time of a run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

_KNOTS: dict[str, tuple[tuple[float, float], ...]] = {
    "steady": ((0.0, 1.0), (1.0, 1.0)),
    # The doors open at eight: few before, everybody within a short time, then a plateau that ebbs away.
    "ramp": ((0.0, 0.1), (0.15, 0.1), (0.45, 1.0), (0.8, 1.0), (1.0, 0.5)),
}
SHAPES = tuple(_KNOTS)


@dataclass(frozen=True, slots=True)
class Profile:
    """A shape over time. ``peak``: the highest rate, in arrivals a second; between its knots it is a straight line."""

    name: str
    duration_s: float
    peak: float

    def rate_at(self, moment_s: float) -> float:
        """Arrivals a second at a moment of the run; zero outside it."""
        part = moment_s / self.duration_s
        knots = _KNOTS[self.name]
        for (left, low), (right, high) in itertools.pairwise(knots):
            if left <= part <= right:
                return self.peak * (low + (high - low) * (part - left) / (right - left))
        return 0.0

    def peak_until(self, moment_s: float) -> float:
        """The highest rate from the beginning up to a moment."""
        knots = [left * self.duration_s for left, _ in _KNOTS[self.name] if left * self.duration_s <= moment_s]
        return max(map(self.rate_at, [*knots, min(moment_s, self.duration_s)]))

    def arrivals_ms(self, chance: random.Random) -> Iterator[int]:
        """Moments of arrival, rising, in ms from the beginning: by chance (Poisson), at the rate of each moment."""
        moment_s = 0.0
        while (moment_s := moment_s + chance.expovariate(self.peak)) < self.duration_s:
            if chance.random() * self.peak < self.rate_at(moment_s):
                yield round(moment_s * 1_000)
