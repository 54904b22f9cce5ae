"""Dates that travel without a year (field 15)."""

from __future__ import annotations

import datetime as dt


def month_day(text: str, near: dt.date) -> dt.date | None:
    """The date nearest to ``near`` with this ``MMDD``; None when there is no such day. 31 December meets 1 January."""
    month, day = int(text[:2]), int(text[2:])
    candidates: list[dt.date] = []
    for year in (near.year - 1, near.year, near.year + 1):
        try:
            candidates.append(dt.date(year, month, day))
        except ValueError:
            continue
    return min(candidates, key=lambda date: abs(date - near), default=None)
