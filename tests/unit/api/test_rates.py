"""Tokens of terminals, on a clock of its own."""

from __future__ import annotations

from settlement.api import rates
from settlement.api.rates import Rates


def test_a_burst_then_the_rate_and_each_terminal_for_itself() -> None:
    now = 0.0
    buckets = Rates(2.0, 3, lambda: now)
    assert [buckets.take("A") for _ in range(4)] == [True, True, True, False]
    assert buckets.take("B")
    now = 0.5
    assert [buckets.take("A") for _ in range(2)] == [True, False]
    now = 100.0
    assert [buckets.take("A") for _ in range(4)] == [True, True, True, False]  # never more than a burst


def test_no_rate_is_no_limit() -> None:
    buckets = Rates(0.0, 1, lambda: 0.0)
    assert all(buckets.take("A") for _ in range(10))


def test_what_is_remembered_is_bounded() -> None:
    buckets = Rates(1.0, 1, lambda: 0.0)
    for number in range(rates.BUCKETS_MAX + 10):
        buckets.take(str(number))
    assert len(buckets._buckets) == rates.BUCKETS_MAX
