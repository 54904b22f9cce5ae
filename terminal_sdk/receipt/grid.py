"""A till printer's grid, 48 half-width columns on 80 mm paper: what fits into it, and where text breaks."""

from __future__ import annotations

import unicodedata

WIDTH = 48
"""Columns of a row: 72 mm printed on 80 mm paper, 12 dots to a column at 203 dpi."""


def columns(text: str) -> int:
    """How many columns a printer gives the text: one for an ASCII character, two for any other.

    A printer in a GB character set draws whatever is not ASCII in a full-width cell: ``×`` and ``é`` as well as ``中``.
    """
    return sum(1 if each.isascii() else 2 for each in text)


def wrap(text: str, width: int = WIDTH, first: int | None = None) -> list[str]:
    """The text in pieces of at most ``width`` (2 or more) columns, at least one piece; ``first``: of the first piece.

    It breaks after any Chinese character; a Latin word or a number only where a row is too short for it.
    """
    pieces = []
    room = width if first is None else first
    while columns(text) > room:
        end = _break(text, _fitting(text, room))
        pieces.append(text[:end].rstrip(" "))
        text = text[end:].lstrip(" ")
        room = width
    return [*pieces, text]


def rows(text: str) -> list[str]:
    """The rows that the paper shows of a receipt's text: none wider than the paper, no control characters."""
    return [piece for line in text.removesuffix("\n").split("\n") for piece in wrap(_plain(line))]


def _fitting(text: str, width: int) -> int:
    """How many characters from the start fit."""
    used = 0
    for position, each in enumerate(text):
        used += columns(each)
        if used > width:
            return position
    return len(text)


def _break(text: str, end: int) -> int:
    """The last place up to ``end`` that is not within a word."""
    for place in range(end, 0, -1):
        if not (_in_word(text[place - 1]) and _in_word(text[place])):
            return place
    return end


def _in_word(character: str) -> bool:
    return character.isascii() and character != " "


def _plain(line: str) -> str:
    """A control character would be a command to the printer."""
    return "".join("?" if unicodedata.category(each) == "Cc" else each for each in line)
