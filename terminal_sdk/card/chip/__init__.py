"""The virtual card itself: what would be silicon. Terminals never import this; they speak APDUs to a reader."""

from terminal_sdk.card.chip.card import VirtualCard

__all__ = ["VirtualCard"]
