"""For tests of the card registry: a clock to set, ID numbers without end, the types of the fixtures."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from settlement.cards import numbers
from settlement.clock import SystemClock
from terminal_sdk.card import CardImage

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool

Issue: TypeAlias = Callable[..., Awaitable[CardImage]]

MASTER_KEY = bytes(range(32))
_serial = itertools.count(1)


class SetClock(SystemClock):
    """A clock that stands where a test sets it."""

    def __init__(self, moment: dt.datetime) -> None:
        self.moment = moment

    def now(self) -> dt.datetime:
        return self.moment


def new_id_number() -> str:
    """An ID number that no other test uses."""
    place, number = divmod(next(_serial), 1_000)
    first = f"{310101 + place}19800101{number:03d}"
    return first + numbers.id_check_character(first)
