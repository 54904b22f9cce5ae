"""The catalog of drugs and services: class, self-paid share and price ceiling of an item, with their days."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from settlement.policy.plan import WHOLE

CLASSES = {"甲": "A", "乙": "B", "丙": "C", "A": "A", "B": "B", "C": "C"}
COLUMNS = ("code", "name", "class", "self_paid_share", "price_ceiling", "from", "to")

_QUANTITY_UNIT = 10_000
_CODE = re.compile(r"[!-~]{1,32}")
_RATIO = re.compile(r"0(?:\.\d{1,4})?|1(?:\.0{1,4})?")
_YUAN = re.compile(r"(0|[1-9]\d{0,11})\.(\d{2})")

Advance = Callable[[int], None]
"""Told of how many rows more have been read."""


class CatalogError(ValueError):
    """A catalog that cannot be used; the message names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item from ``valid_from`` to ``valid_to``, both included; None: until its next version begins.

    ``share``: the patient's share of a class B item, in ten-thousandths · ``ceiling_fen``: the most that is recognised
    for one unit; None: any price.
    """

    code: str
    name: str
    category: str
    share: int
    ceiling_fen: int | None
    valid_from: dt.date
    valid_to: dt.date | None


def ceiling_of(item: Item, quantity: str) -> int | None:
    """The most that is recognised for a quantity (decimal) of an item, in fen, rounded half up; None: any amount."""
    if item.ceiling_fen is None:
        return None
    whole, _, decimals = quantity.partition(".")
    units = int(whole) * _QUANTITY_UNIT + int(decimals.ljust(4, "0") or "0")
    return (item.ceiling_fen * units + _QUANTITY_UNIT // 2) // _QUANTITY_UNIT


class Catalog:
    """Items by code and day."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items: dict[str, list[Item]] = {}
        for item in items:
            self._items.setdefault(item.code, []).append(item)
        for versions in self._items.values():
            versions.sort(key=lambda item: item.valid_from, reverse=True)

    def __len__(self) -> int:
        """How many versions of items there are."""
        return sum(map(len, self._items.values()))

    def find(self, code: str, day: dt.date) -> Item | None:
        """The item as it stands on a day; None: the catalog does not know it then."""
        for item in self._items.get(code, ()):
            if item.valid_from <= day:
                return item if item.valid_to is None or day <= item.valid_to else None
        return None

    def versions(self) -> Iterator[Item]:
        """All versions of all items."""
        return itertools.chain.from_iterable(self._items.values())


def read_catalog(rows: Iterable[str], advance: Advance | None = None) -> Catalog:
    """Read a CSV file's lines; its header is ``COLUMNS``. Raises ``CatalogError``.

    ``class``: 甲, 乙, 丙 or A, B, C · ``self_paid_share``: of class B, as 0.10, else empty · ``price_ceiling``: yuan
    for one unit, as 12.50, or empty · ``from``, ``to``: as 2019-07-01; an empty ``to`` is until the item's
    next version begins.
    """
    items: dict[str, list[Item]] = {}
    for line, item in _items(rows):
        for other in items.setdefault(item.code, []):
            if _collide(item, other):
                raise CatalogError(f"line {line}: {item.code} is there already for some of these days")
        items[item.code].append(item)
        if advance is not None:
            advance(1)
    return Catalog(item for versions in items.values() for item in versions)


def _collide(one: Item, other: Item) -> bool:
    """Whether the later one begins while the earlier still holds by its own end."""
    earlier, later = (one, other) if one.valid_from < other.valid_from else (other, one)
    same_day = earlier.valid_from == later.valid_from
    return same_day or (earlier.valid_to is not None and later.valid_from <= earlier.valid_to)


def _items(rows: Iterable[str]) -> Iterator[tuple[int, Item]]:
    reader = csv.DictReader(rows)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise CatalogError(f"line 1: the header must be {','.join(COLUMNS)}")
    for row in reader:
        line = reader.line_num
        if None in row or None in row.values():
            raise CatalogError(f"line {line}: there must be {len(COLUMNS)} fields")
        yield line, _item(row, line)


def _item(row: dict[str, str], line: int) -> Item:
    def fail(column: str, wanted: str) -> CatalogError:
        return CatalogError(f"line {line}: {column} must be {wanted}, not {row[column]!r}")

    category = CLASSES.get(row["class"])
    if category is None:
        raise fail("class", "甲, 乙 or 丙 (or A, B, C)")
    if not _CODE.fullmatch(row["code"]):
        raise fail("code", "1 to 32 printable characters")
    if not row["name"].strip():
        raise fail("name", "a text")
    if (category == "B") != bool(row["self_paid_share"]):
        raise fail("self_paid_share", "a ratio such as 0.10 for class B, and empty for the others")
    if row["self_paid_share"] and not _RATIO.fullmatch(row["self_paid_share"]):
        raise fail("self_paid_share", "from 0 to 1 with at most four decimals")
    ceiling = _YUAN.fullmatch(row["price_ceiling"]) if row["price_ceiling"] else None
    if row["price_ceiling"] and ceiling is None:
        raise fail("price_ceiling", "yuan with two decimals, or empty")
    valid_from = _day(row["from"])
    valid_to = _day(row["to"]) if row["to"] else None
    if valid_from is None:
        raise fail("from", "a date such as 2019-07-01")
    if row["to"] and (valid_to is None or valid_to < valid_from):
        raise fail("to", "a date not before from, or empty")
    whole, _, decimals = (row["self_paid_share"] or "0").partition(".")
    return Item(
        code=row["code"],
        name=row["name"].strip(),
        category=category,
        share=int(whole) * WHOLE + int(decimals.ljust(4, "0") or "0"),
        ceiling_fen=None if ceiling is None else int(ceiling[1]) * 100 + int(ceiling[2]),
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        return None
