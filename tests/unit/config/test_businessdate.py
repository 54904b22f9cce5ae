"""The business date around the cut-over, in Shanghai's time."""

from __future__ import annotations

import datetime as dt

import pytest

from settlement.businessdate import business_date

DAY = dt.date(2019, 1, 2)


@pytest.mark.parametrize(
    ("cut_over", "utc", "expected"),
    [
        ("00:00", "2019-01-01T15:59:59.999999", dt.date(2019, 1, 1)),
        ("00:00", "2019-01-01T16:00:00", DAY),
        ("02:00", "2019-01-01T17:59:59", dt.date(2019, 1, 1)),
        ("02:00", "2019-01-01T18:00:00", DAY),
        ("23:00", "2019-01-02T14:59:59", DAY),
        ("23:00", "2019-01-02T15:00:00", dt.date(2019, 1, 3)),
        ("12:00", "2019-01-02T04:00:00", dt.date(2019, 1, 3)),
        ("11:59", "2019-01-02T03:59:00", DAY),
        ("23:00", "2018-12-31T15:00:00", dt.date(2019, 1, 1)),
    ],
)
def test_business_date(cut_over: str, utc: str, expected: dt.date) -> None:
    now = dt.datetime.fromisoformat(utc).replace(tzinfo=dt.UTC)
    assert business_date(now, dt.time.fromisoformat(cut_over)) == expected


def test_the_zone_of_the_moment_does_not_matter() -> None:
    tokyo = dt.timezone(dt.timedelta(hours=9))
    now = dt.datetime(2019, 1, 2, 0, 30, tzinfo=tokyo)
    assert business_date(now, dt.time(0)) == dt.date(2019, 1, 1)


def test_naive_moments_and_zoned_cut_overs_are_refused() -> None:
    with pytest.raises(ValueError, match="timezone-aware"):
        business_date(dt.datetime(2019, 1, 2), dt.time(0))  # noqa: DTZ001  # the mistake that is refused
    with pytest.raises(ValueError, match="no time zone"):
        business_date(dt.datetime(2019, 1, 2, tzinfo=dt.UTC), dt.time(0, tzinfo=dt.UTC))
