"""What the bench consists of: parts, which bring up what they need, and cells, which measure one thing once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.world import World


def counted(number: int, noun: str) -> str:
    """A number of things, for people: ``1 client``, ``8 clients``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class BenchError(Exception):
    """Something could not be measured; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number of one measurement.

    ``quantity``: its stable name in the JSON file · ``title``: its name in the table; None: not in the table ·
    ``derived``: computed from other readings, not measured.
    """

    quantity: str
    value: float
    unit: str
    title: str | None = None
    derived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One thing to measure.

    ``key``: its stable name: kind, and where it has clients, their number (``settle.bank/8``) · ``clients``: that
    number; measurements with as many clients run next to each other, because they are compared.
    """

    key: str
    title: str
    clients: int | None = None
    measure: Callable[[], Awaitable[list[Reading]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Cells that stand on the same ground. ``open`` brings that ground up, gives the cells, and takes it down."""

    name: str
    title: str
    open: Callable[[World], AbstractAsyncContextManager[Sequence[Cell]]]
