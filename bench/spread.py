"""Percentiles, spread over repeats, and ratios made repeat by repeat."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.figures import quantile


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of some repeats; the median of an even number lies between the middle two."""

    minimum: float
    median: float
    maximum: float


def spread(values: Sequence[float | None]) -> Spread | None:
    """The spread of the repeats that have a figure; None where none has."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(min(known), statistics.median(known), max(known))


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``share`` (0 < share ≤ 1) of all do not exceed.

    Raises ``ValueError`` for no values or a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError("share: above 0, at most 1")
    found = quantile(values, share)
    if found is None:
        raise ValueError("a percentile of nothing")
    return found


def paired(top: Sequence[float | None], bottom: Sequence[float | None]) -> list[float | None]:
    """Top ÷ bottom, each repeat by itself: what slowed a whole repeat down is in both and drops out.

    None where either is missing, or the divisor is zero. Raises ``ValueError`` for different numbers of repeats.
    """
    return [None if above is None or not below else above / below for above, below in zip(top, bottom, strict=True)]
