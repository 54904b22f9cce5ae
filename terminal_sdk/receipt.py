"""Printing: the service composes the text of a receipt; here it becomes the bytes of a till's printer."""

from __future__ import annotations

from terminal_sdk.wire import Receipt

_INITIALISE = b"\x1b@"
_FEED_LINES = b"\x1bd\x04"
_CUT = b"\x1dV\x01"


def to_printer(receipt: Receipt, *, encoding: str = "gb18030", cut: bool = True) -> bytes:
    """The bytes for an ESC/POS printer (80 mm, 48 columns), as nearly all tills have: initialise, text, feed, cut.

    ``encoding``: the printer's character set; GB18030 is usual, and a character it lacks is printed as ``?``.
    """
    text = "".join(f"{line}\n" for line in receipt.text.splitlines())
    return _INITIALISE + text.encode(encoding, errors="replace") + _FEED_LINES + (_CUT if cut else b"")
