"""What can go wrong between terminal and card: reader, slot and connection."""

from __future__ import annotations

from collections.abc import Sequence


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


class ExchangeFailed(ReaderError):
    """A command or its answer was lost although the card still lies there; what the command did is not known."""


class ReaderNotFound(ReaderError):
    """No reader of that name, or none at all, is connected to this machine."""


class ReaderUnplugged(ReaderError):
    """The reader went away while it was in use; what the last command did is not known."""


class AmbiguousReader(ReaderError):
    """Several readers fit, so none was taken. ``candidates``: their names."""

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        self.candidates = tuple(candidates)
        super().__init__(message)


class DaemonUnavailable(ReaderError):
    """The PC/SC daemon does not run, or went away; in the second case what the last command did is not known."""


class AccessDenied(ReaderError):
    """The PC/SC daemon runs, but does not serve this user."""


class PcscNotInstalled(ReaderError):
    """The package ``pyscard``, or the system's PC/SC library beneath it, cannot be loaded."""
