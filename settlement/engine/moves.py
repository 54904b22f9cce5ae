"""The legal moves of a leg: one table, which the database enforces (`leg_rule`) and a test holds equal to this one."""

from __future__ import annotations

from typing import Final

INSURANCE: Final = "insurance"
BANK: Final = "bank"
INSURANCE_RETURN: Final = "insurance_return"
BANK_RETURN: Final = "bank_return"

LEGAL_MOVES: Final[dict[str, dict[str, frozenset[str]]]] = {
    INSURANCE: {
        "none": frozenset({"held", "posted"}),  # posted at once where no bank is needed
        "held": frozenset({"posted", "released"}),
    },
    BANK: {
        "none": frozenset({"intended"}),  # from its commit on, sending is possible
        "intended": frozenset({"approved", "posted", "declined", "unknown", "undoing"}),
        "unknown": frozenset({"approved", "posted", "declined", "undoing"}),
        "approved": frozenset({"posted"}),  # an approval that is durable here is captured, never dropped
        "undoing": frozenset({"undoing", "undone"}),  # a late approval is noted, and reversed
    },
    INSURANCE_RETURN: {"none": frozenset({"posted"})},
    BANK_RETURN: {
        "none": frozenset({"intended"}),
        "intended": frozenset({"posted", "unknown", "refused", "intended"}),  # intended again: void became refund
        "unknown": frozenset({"posted", "refused", "intended"}),
        "refused": frozenset({"posted", "unknown", "refused", "intended"}),  # never given up
    },
}

FINAL: Final[dict[str, frozenset[str]]] = {
    INSURANCE: frozenset({"posted", "released"}),
    BANK: frozenset({"posted", "declined", "undone"}),
    INSURANCE_RETURN: frozenset({"posted"}),
    BANK_RETURN: frozenset({"posted"}),
}
"""States in which a leg rests for good."""
