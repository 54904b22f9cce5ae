"""Card readers: one small port, the virtual reader behind it, and a tracer that wraps any reader.

Real readers are ``terminal_sdk.reader.pcsc``, which needs the extra ``pcsc`` and is imported by who wants it;
``terminal_sdk.reader.vpcd`` plugs a virtual card into a real PC/SC daemon.
"""

from terminal_sdk.reader.errors import (
    AccessDenied,
    AmbiguousReader,
    CardRemoved,
    ConnectionClosed,
    DaemonUnavailable,
    ExchangeFailed,
    NoCard,
    PcscNotInstalled,
    ReaderBusy,
    ReaderError,
    ReaderNotFound,
    ReaderUnplugged,
)
from terminal_sdk.reader.port import CardConnection, CardReader, Interface
from terminal_sdk.reader.tracing import TracingReader
from terminal_sdk.reader.virtual import Chip, VirtualConnection, VirtualReader

__all__ = [
    "AccessDenied",
    "AmbiguousReader",
    "CardConnection",
    "CardReader",
    "CardRemoved",
    "Chip",
    "ConnectionClosed",
    "DaemonUnavailable",
    "ExchangeFailed",
    "Interface",
    "NoCard",
    "PcscNotInstalled",
    "ReaderBusy",
    "ReaderError",
    "ReaderNotFound",
    "ReaderUnplugged",
    "TracingReader",
    "VirtualConnection",
    "VirtualReader",
]
