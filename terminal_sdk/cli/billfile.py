"""The bill as people and till software write it down: a file in JSON or TOML, or a few ``--line`` options."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Sequence
from typing import Any

import msgspec

from terminal_sdk.cli.amounts import AmountInvalid, fen_of
from terminal_sdk.client import Bill
from terminal_sdk.wire import Category, FeeLine, VisitType

BILL_BYTES_MAX = 8 * 1024 * 1024
_CHINA = dt.timezone(dt.timedelta(hours=8))
_CLASSES: dict[str, Category] = {"A": "A", "B": "B", "C": "C", "甲": "A", "乙": "B", "丙": "C"}
_LINE_PARTS = 3
_BYTE_ORDER_MARK = "\ufeff"
"""Some editors on Windows begin a file with it."""


class BillInvalid(ValueError):
    """The bill cannot be read. The message names the place, and repeats nothing of what stands there."""


class LineEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a bill file: exactly one of ``amount`` (yuan, a string with two decimals) and ``amount_fen``."""

    item_code: str
    item_name: str
    category: str
    amount: str | None = None
    amount_fen: int | None = None
    quantity: str = "1"
    line_no: int | None = None


class BillFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bill file. What it leaves out comes from options, the till's profile, and today's date in China."""

    lines: list[LineEntry]
    visit_no: str | None = None
    visit_type: VisitType | None = None
    service_date: dt.date | None = None


def read_bill(text: str) -> BillFile:
    """A bill in JSON (begins with a brace) or TOML. Raises ``BillInvalid``."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        found = _json(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except BillInvalid:
        raise
    except json.JSONDecodeError as error:
        raise BillInvalid(f"no JSON (line {error.lineno}, column {error.colno})") from None
    except (tomllib.TOMLDecodeError, RecursionError):
        raise BillInvalid("neither JSON nor TOML") from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise BillInvalid("a number in it is too long") from None
    _refuse_numbers(found)
    try:
        return msgspec.convert(found, BillFile)
    except msgspec.ValidationError as error:
        raise BillInvalid(str(error)) from None


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_doubles)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON would let the last of two amounts count, and another program the first; TOML refuses it by itself."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BillInvalid("an object holds the same name twice")
    return found


def line_entry(text: str) -> LineEntry:
    """``CODE:NAME:CLASS:YUAN``; the name may hold colons. Raises ``BillInvalid``."""
    code, _, rest = text.partition(":")
    parts = rest.rsplit(":", 2)
    if len(parts) != _LINE_PARTS or not code:
        raise BillInvalid("write CODE:NAME:CLASS:YUAN, as in 86900001:阿莫西林胶囊:A:24.50")
    return LineEntry(item_code=code, item_name=parts[0], category=parts[1], amount=parts[2])


def bill_of(file: BillFile, *, visit_no: str | None, visit_type: VisitType, now: dt.datetime) -> Bill:
    """The bill to hand in. ``visit_no`` (an option) goes before the file's; ``visit_type`` is the till's, for a file
    without one; ``now`` (aware) gives the date of service. Raises ``BillInvalid``.
    """
    number = visit_no or file.visit_no
    if not number:
        raise BillInvalid("the visit or order number is missing: --visit, or visit_no in the file")
    return Bill(
        visit_no=number,
        visit_type=file.visit_type or visit_type,
        service_date=file.service_date or now.astimezone(_CHINA).date(),
        lines=_lines(file.lines),
    )


def _lines(entries: Sequence[LineEntry]) -> list[FeeLine]:
    if not entries:
        raise BillInvalid("lines: a bill has at least one")
    return [_line(position, entry) for position, entry in enumerate(entries, start=1)]


def _line(position: int, entry: LineEntry) -> FeeLine:
    category = _CLASSES.get(entry.category.upper())
    if category is None:
        raise BillInvalid(f"line {position}: the class is A, B or C (甲, 乙, 丙)")
    if not _is_text(entry.item_code) or not _is_text(entry.item_name):
        raise BillInvalid(f"line {position}: the code or the name is not whole UTF-8")
    return FeeLine(
        line_no=position if entry.line_no is None else entry.line_no,
        item_code=entry.item_code,
        item_name=entry.item_name,
        category=category,
        quantity=entry.quantity,
        amount_fen=_fen(position, entry),
    )


def _is_text(text: str) -> bool:
    """Whether it can be sent: half of a surrogate pair, or a byte of another character set, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fen(position: int, entry: LineEntry) -> int:
    if (entry.amount is None) == (entry.amount_fen is None):
        raise BillInvalid(f"line {position}: give amount (yuan) or amount_fen, one of them")
    if entry.amount is None:
        return entry.amount_fen or 0
    try:
        return fen_of(entry.amount)
    except AmountInvalid as error:
        raise BillInvalid(f"line {position}: {error}") from None


def _refuse_numbers(found: Any) -> None:
    """An amount in yuan that is a number was a float on its way, here or in the program that wrote it."""
    lines = found.get("lines") if isinstance(found, dict) else None
    for position, line in enumerate(lines if isinstance(lines, list) else [], start=1):
        if isinstance(line, dict) and isinstance(line.get("amount"), int | float):
            raise BillInvalid(f'line {position}: write amount as a string, "24.50", or give amount_fen')
