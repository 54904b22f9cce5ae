"""Yuan for people, fen for everything else: this is the only place where the two meet, and no float is in it."""

from __future__ import annotations

import re

from terminal_sdk.wire import MAX_FEN

_YUAN = re.compile(r"(0|[1-9][0-9]{0,9})\.([0-9]{2})")


class AmountInvalid(ValueError):
    """A text is no amount in yuan with two decimals, or more than a bill may have."""


def fen_of(yuan: str) -> int:
    """``"24.50"`` → 2450. Exactly two decimals, no sign, no spaces, no thousands. Raises ``AmountInvalid``."""
    parts = _YUAN.fullmatch(yuan)
    if parts is None:
        raise AmountInvalid("write yuan with two decimals, as in 24.50")
    fen = int(parts[1]) * 100 + int(parts[2])
    if fen > MAX_FEN:
        raise AmountInvalid(f"more than {yuan_of(MAX_FEN)} yuan")
    return fen


def yuan_of(fen: int) -> str:
    """2450 → ``"24.50"``; exact, with a minus sign for less than nothing."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"
