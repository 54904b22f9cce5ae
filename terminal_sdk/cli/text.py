"""Aligned text for a terminal: a Chinese character takes two columns, everything ASCII takes one."""

from __future__ import annotations

from collections.abc import Iterable

from terminal_sdk.receipt.grid import columns

LABEL_WIDTH = 34
AMOUNT_WIDTH = 14


def pad(text: str, width: int) -> str:
    """Fill with spaces on the right up to a number of columns."""
    return text + " " * max(width - columns(text), 0)


def centred(text: str, width: int) -> str:
    """With spaces on the left, so that it stands in the middle."""
    return " " * max((width - columns(text)) // 2, 0) + text


def table(rows: Iterable[tuple[str, str]], width: int = LABEL_WIDTH) -> list[str]:
    """Label and value, one row each; rows without a value are left out."""
    return [f"{pad(label, width)}  {value}" for label, value in rows if value]
