"""Which business date a moment belongs to, given the local time at which the business day is cut over."""

from __future__ import annotations

import datetime as dt

SHANGHAI = dt.timezone(dt.timedelta(hours=8), "Asia/Shanghai")
"""China's time: one zone, no daylight saving since 1991; fixed here so that no time zone database is needed."""

_NOON = dt.time(12)


def business_date(now: dt.datetime, cut_over: dt.time) -> dt.date:
    """The business date of an aware moment; ``cut_over`` is local time in Shanghai.

    A cut-over after midnight and before noon closes the day before (02:00: what happens at 01:59 still belongs to
    yesterday). A cut-over from noon on opens the day after (23:00: what happens at 23:00 belongs to tomorrow), as
    banks that close early do. 00:00 is the calendar day.

    Raises ``ValueError`` for a naive ``now`` or a ``cut_over`` with a time zone.
    """
    if now.tzinfo is None:
        raise ValueError("business_date needs a timezone-aware moment")
    if cut_over.tzinfo is not None:
        raise ValueError("the cut-over is local time in Shanghai and carries no time zone of its own")
    local = now.astimezone(SHANGHAI)
    reached = local.time() >= cut_over
    if cut_over < _NOON:
        return local.date() if reached else local.date() - dt.timedelta(days=1)
    return local.date() + dt.timedelta(days=1) if reached else local.date()
