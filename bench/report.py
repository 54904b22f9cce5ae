"""The report of a run as data: what the JSON file holds, and how it comes from the readings of every repeat."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence

import msgspec

from bench.cells import Cell, Reading
from bench.machine import Machine, Software
from bench.options import Options
from bench.spread import spread

FORMAT = 1
"""Rises when the meaning of a field changes."""
_PATH = re.compile(r"(?<![\w/:.])(?:/[\w.@+-]+){2,}/?")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one measurement over all repeats, in their order; None: that repeat has none.

    ``measurement``: its stable name · ``title``: None: not in the table · ``derived``: computed, not measured.
    """

    measurement: str
    about: str
    quantity: str
    title: str | None
    unit: str
    values: list[float | None]
    minimum: float | None
    median: float | None
    maximum: float | None
    derived: bool


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that did not work. ``measurement``: None: while the part was brought up or taken down."""

    part: str
    measurement: str | None
    message: str


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """The proof at the end. ``settled_by_tills``: what tills were told · ``settled_in_ledger``: what stands there."""

    settled_by_tills: int
    settled_in_ledger: int
    violations: int
    lines: list[str]

    @property
    def agree(self) -> bool:
        """Whether the figures are worth anything."""
        return self.violations == 0 and self.settled_by_tills == self.settled_in_ledger


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run. ``order``: the measurements of one repeat in the order in which they ran.

    ``books``: None where no part settled through the service.
    """

    format: int
    started_at: dt.datetime
    took_s: float
    machine: Machine
    software: Software
    database: dict[str, str]
    options: Options
    order: list[str]
    figures: list[Figure]
    ratios: list[Figure]
    remarks: list[str]
    problems: list[Problem]
    books: Books | None

    @property
    def good(self) -> bool:
        """Whether everything was measured and the books agree."""
        return not self.problems and (self.books is None or self.books.agree)


def figure(cell: Cell, readings: Sequence[Reading | None]) -> Figure:
    """One quantity from its readings, one a repeat, at least one of them there."""
    known = next(reading for reading in readings if reading is not None)
    return make_figure(
        measurement=cell.key,
        about=cell.title,
        quantity=known.quantity,
        title=known.title,
        unit=known.unit,
        values=[None if reading is None else reading.value for reading in readings],
        derived=known.derived,
    )


def make_figure(
    *,
    measurement: str,
    about: str,
    quantity: str,
    title: str | None,
    unit: str,
    values: list[float | None],
    derived: bool,
) -> Figure:
    """A figure with its spread."""
    over = spread(values)
    return Figure(
        measurement=measurement,
        about=about,
        quantity=quantity,
        title=title,
        unit=unit,
        values=values,
        minimum=over.minimum if over else None,
        median=over.median if over else None,
        maximum=over.maximum if over else None,
        derived=derived,
    )


def figures(cells: Sequence[Cell], results: Mapping[str, Sequence[Sequence[Reading] | None]]) -> list[Figure]:
    """The figures of all measurements. ``results``: by measurement, the readings of each repeat; None: it failed."""
    found = []
    for cell in cells:
        by_repeat = [
            {reading.quantity: reading for reading in readings or ()} for readings in results.get(cell.key, ())
        ]
        quantities = list(dict.fromkeys(quantity for readings in by_repeat for quantity in readings))
        found += [figure(cell, [readings.get(quantity) for readings in by_repeat]) for quantity in quantities]
    return found


def without_paths(message: str) -> str:
    """The message with paths of this machine cut out: a report is passed on."""
    return _PATH.sub("…", message)
