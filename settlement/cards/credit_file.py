"""An insurer's file of the new year's credits: who gets how much, read strictly and judged as a whole."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from settlement.cards import numbers
from settlement.cards.errors import NumberInvalid
from terminal_sdk.wire import MAX_FEN

Key = Literal["id_number", "card_number"]
HEADERS: Final[dict[tuple[str, ...], Key]] = {
    ("id_number", "amount"): "id_number",
    ("card_number", "amount"): "card_number",
}
PROBLEMS_TOLD: Final = 20
"""How many lines that are wrong are named; the others are counted."""

Advance = Callable[[int], None]
"""Told of how many steps more are done."""

_NORMAL: Final = {"id_number": numbers.id_number, "card_number": numbers.card_number}
_YUAN = re.compile(r"(0|[1-9][0-9]{0,11})\.([0-9]{2})")


class CreditsRefused(Exception):
    """A file of credits that cannot be used; nothing of it was applied. ``problems``: each line that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        told = problems[:PROBLEMS_TOLD]
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        super().__init__("\n".join(told))


@dataclass(frozen=True, slots=True)
class Credit:
    """A line of the file. ``number``: in its normal spelling · ``amount_fen``: may be 0."""

    line: int
    number: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class CreditFile:
    """All lines of a file, each with another number; ``key``: what the numbers are."""

    key: Key
    credits: list[Credit]


def read_credits(rows: Iterable[str], advance: Advance | None = None) -> CreditFile:
    """Read a CSV file's lines; the header is ``id_number,amount`` or ``card_number,amount``. Raises ``CreditsRefused``.

    ``amount``: yuan with two decimals, as 1200.00. Every wrong line is named. No message holds a person's number.
    """
    reader = csv.reader(rows, strict=True)
    found: dict[str, Credit] = {}
    problems = []
    try:
        key = HEADERS.get(tuple(next(reader, ())))
        if key is None:
            raise CreditsRefused(["line 1: the header must be " + " or ".join(map(",".join, HEADERS))])
        for row in reader:
            try:
                credit = _credit(row, reader.line_num, key)
            except ValueError as error:
                problems.append(f"line {reader.line_num}: {error}")
            else:
                first = found.setdefault(credit.number, credit)
                if first is not credit:
                    problems.append(f"line {credit.line}: the same person as line {first.line}")
            if advance is not None:
                advance(1)
    except csv.Error as error:
        raise CreditsRefused([f"line {reader.line_num}: this is not CSV: {error}"]) from error
    if not found and not problems:
        problems = ["there is nobody in it"]
    refuse(problems)
    return CreditFile(key, list(found.values()))


def refuse(problems: list[str]) -> None:
    """Raises ``CreditsRefused`` if there are any."""
    if problems:
        raise CreditsRefused(problems)


def _credit(row: list[str], line: int, key: Key) -> Credit:
    """``ValueError`` says what is wrong."""
    if len(row) != len(next(iter(HEADERS))):
        raise ValueError(f"there must be 2 fields, {key} and amount, not {len(row)}")
    number, amount = row
    try:
        normal = _NORMAL[key](number)
    except NumberInvalid as error:
        raise ValueError(str(error)) from error
    match = _YUAN.fullmatch(amount)
    if match is None:
        raise ValueError(f"amount must be yuan with two decimals, such as 1200.00, not {amount!r}")
    fen = int(match[1] + match[2])
    if fen > MAX_FEN:
        raise ValueError(f"amount must be {MAX_FEN // 100}.00 yuan at most")
    return Credit(line, normal, fen)
