"""Percentiles by nearest rank, spreads over repeats, and ratios made repeat by repeat."""

from __future__ import annotations

import pytest

from bench.spread import Spread, paired, percentile, spread


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.9, 90.0), (0.99, 99.0), (0.999, 100.0), (1, 100)],
)
def test_a_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_few_values_have_their_largest_as_p99() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([4.0, 3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([7.0], 0.01) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.01)])
def test_what_is_no_percentile_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"percentile|share"):
        percentile(values, share)


def test_a_spread_leaves_out_repeats_without_a_figure() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(1.0, 2.0, 5.0)
    assert spread([5.0, None, 2.0]) == Spread(2.0, 3.5, 5.0)
    assert spread([None, None]) is None
    assert spread([]) is None


def test_a_ratio_compares_figures_of_the_same_repeat() -> None:
    # the whole machine was half as fast in the second repeat: the ratio does not see it
    assert paired([100.0, 50.0], [200.0, 100.0]) == [0.5, 0.5]
    assert paired([1.0, None, 1.0], [None, 2.0, 0.0]) == [None, None, None]
    with pytest.raises(ValueError, match="argument"):
        paired([1.0], [1.0, 2.0])
