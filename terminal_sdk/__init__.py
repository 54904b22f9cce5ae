"""What a terminal maker installs: cards, readers, national cryptography and the client of the settlement service.

The names below are the public face of the client; ``terminal_sdk.card``, ``terminal_sdk.reader`` and
``terminal_sdk.crypto`` have their own. They are loaded when first used, so that a part costs only itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terminal_sdk.client import (
        Bill,
        Credentials,
        Forwarder,
        ForwardPolicy,
        RetryPolicy,
        SyncForwarder,
        SyncTerminal,
        Terminal,
        Waiting,
        error_in_words,
    )
    from terminal_sdk.errors import (
        AnswerInvalid,
        AttemptStillOpen,
        CredentialsInvalid,
        EnrolmentRefused,
        ForwarderBusy,
        InvalidRequest,
        JournalError,
        JournalUnreadable,
        KeyReused,
        QueueFull,
        RequestRefused,
        ServiceUnreachable,
        SignInRefused,
        TerminalClosed,
        TerminalError,
    )
    from terminal_sdk.journal import Journal, JournalEntry
    from terminal_sdk.receipt import to_printer
    from terminal_sdk.results import (
        AnyResult,
        Declined,
        NotYetKnown,
        Refunded,
        RefundResult,
        Refused,
        Result,
        ReversalResult,
        Reversed,
        Settled,
    )
    from terminal_sdk.wire import FeeLine, Quote, Receipt, RefundLine

__all__ = [
    "AnswerInvalid",
    "AnyResult",
    "AttemptStillOpen",
    "Bill",
    "Credentials",
    "CredentialsInvalid",
    "Declined",
    "EnrolmentRefused",
    "FeeLine",
    "ForwardPolicy",
    "Forwarder",
    "ForwarderBusy",
    "InvalidRequest",
    "Journal",
    "JournalEntry",
    "JournalError",
    "JournalUnreadable",
    "KeyReused",
    "NotYetKnown",
    "QueueFull",
    "Quote",
    "Receipt",
    "RefundLine",
    "RefundResult",
    "Refunded",
    "Refused",
    "RequestRefused",
    "Result",
    "RetryPolicy",
    "ReversalResult",
    "Reversed",
    "ServiceUnreachable",
    "Settled",
    "SignInRefused",
    "SyncForwarder",
    "SyncTerminal",
    "Terminal",
    "TerminalClosed",
    "TerminalError",
    "Waiting",
    "error_in_words",
    "to_printer",
]

_HOMES = ("errors", "wire", "results", "receipt", "journal", "client")


def __getattr__(name: str) -> object:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"terminal_sdk.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
