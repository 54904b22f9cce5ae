"""Card readers: one small port, the virtual reader behind it, and a tracer that wraps either."""

from terminal_sdk.reader.errors import CardRemoved, ConnectionClosed, NoCard, ReaderBusy, ReaderError
from terminal_sdk.reader.port import CardConnection, CardReader, Interface
from terminal_sdk.reader.tracing import TracingReader
from terminal_sdk.reader.virtual import Chip, VirtualConnection, VirtualReader

__all__ = [
    "CardConnection",
    "CardReader",
    "CardRemoved",
    "Chip",
    "ConnectionClosed",
    "Interface",
    "NoCard",
    "ReaderBusy",
    "ReaderError",
    "TracingReader",
    "VirtualConnection",
    "VirtualReader",
]
