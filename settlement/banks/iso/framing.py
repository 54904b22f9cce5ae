"""Cutting the byte stream of a bank link into messages: two bytes of length, big-endian, then the body."""

from __future__ import annotations

from settlement.banks.iso.spec import MAX_BODY_BYTES

LENGTH_BYTES = 2


class FrameError(Exception):
    """The peer announced a frame that is empty or longer than this dialect has; the stream cannot be trusted."""


def frame(body: bytes) -> bytes:
    """A body with its length in front. Raises ``FrameError`` for one that no peer would accept."""
    if not 0 < len(body) <= MAX_BODY_BYTES:
        raise FrameError(f"a body has 1 to {MAX_BODY_BYTES} bytes, not {len(body)}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class FrameSplitter:
    """Collects bytes as they come and gives whole bodies. Holds at most one frame that is not complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether part of a frame has come and the rest is missing."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Add what came; the bodies that are complete now. Raises ``FrameError`` when a length is out of range."""
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + LENGTH_BYTES], "big")
            if not 0 < length <= MAX_BODY_BYTES:
                raise FrameError(f"a frame of {length} bytes was announced")
            end = start + LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + LENGTH_BYTES : end]))
            start = end
        del self._buffer[:start]
        return bodies
