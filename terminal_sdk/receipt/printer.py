"""Printing: the service composes the text of a receipt; here it becomes the bytes of a till's printer."""

from __future__ import annotations

from terminal_sdk.receipt.grid import columns, rows
from terminal_sdk.wire import Receipt

_INITIALISE = b"\x1b@"
_CHINESE_ON = b"\x1c&"
_FEED_LINES = b"\x1bd\x04"
_CUT = b"\x1dV\x01"


def to_printer(receipt: Receipt, *, encoding: str = "gb18030", cut: bool = True) -> bytes:
    """The bytes for an ESC/POS printer (80 mm, 48 columns), as nearly all tills have: initialise, text, feed, cut.

    ``encoding``: the printer's character set, by the name Python knows it under; GB18030 is usual, old printers know
    GBK. A character it lacks is printed as ``?`` in the same number of columns. In a GB character set, the printer's
    Chinese mode is switched on first.
    """
    text = "".join(f"{row}\n" for row in rows(receipt.text))
    chinese = _CHINESE_ON if encoding.lower().startswith("gb") else b""
    return _INITIALISE + chinese + _encoded(text, encoding) + _FEED_LINES + (_CUT if cut else b"")


def _encoded(text: str, encoding: str) -> bytes:
    """Character by character: what is replaced must keep its columns, or the amounts would no longer stand in line."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return b"".join(_one(each, encoding) for each in text)


def _one(character: str, encoding: str) -> bytes:
    try:
        return character.encode(encoding)
    except UnicodeEncodeError:
        return b"?" * columns(character)
