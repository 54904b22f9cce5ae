"""What happened in a run, in order: its digest says whether two runs are one and the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from settlement.banks.iso.codec import MessageError, unpack
from settlement.banks.iso.framing import LENGTH_BYTES

FAULT = "fault"
_FAULT_MATTERS_S = 20.0


class Event(NamedTuple):
    """One event: virtual seconds, which process, what kind, a line of text, and for frames the bytes."""

    at: float
    process: str
    kind: str
    text: str
    data: bytes = b""

    def shown(self) -> str:
        """The text; of a frame, what it says."""
        return f"{self.text} {_message(self.data)}" if self.data else self.text

    def line(self) -> str:
        """For people."""
        return f"{self.at:12.6f}  {self.process:<10} {self.kind:<7} {self.shown()}"


class Trace:
    """All events of one run. ``clock`` gives the virtual time.

    Frames stand in the digest byte by byte. What is random by nature (signatures of cards, sealed columns) is in none.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.events: list[Event] = []
        self._clock = clock
        self._digest = hashlib.sha256()

    def note(self, process: str, kind: str, text: str, data: bytes = b"") -> None:
        """Something happened."""
        event = Event(self._clock(), process, kind, text, data)
        self.events.append(event)
        self._digest.update(f"{event.at:.9f}|{process}|{kind}|{text}|".encode() + data)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all events so far."""
        return self._digest.hexdigest()

    def about(self, names: Iterable[str], most: int) -> Sequence[Event]:
        """The first ``most`` events that speak of one of these names, and the faults of the time before each of them.

        Without a name: the last ``most`` events.
        """
        wanted = [name for name in names if name]
        if not wanted:
            return [event for event in self.events if event.kind != "bytes"][-most:]
        found: list[Event] = []
        faults: list[Event] = []
        for event in self.events:
            text = event.shown()
            if any(name in text for name in wanted):
                found += [fault for fault in faults if event.at - fault.at < _FAULT_MATTERS_S]
                faults.clear()
                found.append(event)
            elif event.kind == FAULT:
                faults.append(event)
        return found[:most]


def _message(data: bytes) -> str:
    """A whole frame in short: type, processing or network code, reference, amount, response code."""
    try:
        message = unpack(data[LENGTH_BYTES:])
    except (MessageError, ValueError, IndexError):
        return f"({len(data)} bytes)"
    shown = [message.mti, *(message.get(number) for number in ("3", "70", "37", "4", "39"))]
    return " ".join(part for part in shown if part)
