"""What can go wrong between terminal and card: reader, slot and connection."""

from __future__ import annotations


class ReaderError(Exception):
    """The reader could not be used. Every failure that is not the card's own is a subclass."""


class NoCard(ReaderError):
    """No card lies in the reader, or none that answers on this interface."""


class CardRemoved(ReaderError):
    """The card was taken out while it was in use; what the last command did is not known."""


class ReaderBusy(ReaderError):
    """Another session holds this reader's card."""


class ConnectionClosed(ReaderError):
    """The connection was ended by ``disconnect`` and cannot be used any more."""
