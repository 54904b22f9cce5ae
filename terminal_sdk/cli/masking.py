"""How names and numbers look to bystanders: enough to compare with the card in hand, not enough to copy."""

from __future__ import annotations

MASK = "*"


def mask_name(name: str) -> str:
    """The first character; the rest as stars, always two, so that the length is not told either."""
    return name[:1] + MASK * 2


def mask_number(number: str, first: int, last: int) -> str:
    """Only the ``first`` and ``last`` characters; everything as stars if that would leave nothing hidden."""
    hidden = len(number) - first - last
    if hidden <= 0:
        return MASK * len(number)
    return number[:first] + MASK * hidden + number[len(number) - last :]
