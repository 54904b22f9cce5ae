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
    """Collects bytes as they come and gives whole bodies, one by one. Holds what was added and not yet taken."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether bytes wait here: part of a frame, or frames that nobody has taken."""
        return bool(self._buffer)

    def add(self, data: bytes) -> None:
        """Add what came."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next body, None while it is not complete. Raises ``FrameError`` when its length is out of range."""
        if len(self._buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if not 0 < length <= MAX_BODY_BYTES:
            raise FrameError(f"a frame of {length} bytes was announced")
        end = LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[LENGTH_BYTES:end])
        del self._buffer[:end]
        return body

    def feed(self, data: bytes) -> list[bytes]:
        """Add what came; all bodies that are complete now. Raises ``FrameError`` when a length is out of range."""
        self.add(data)
        bodies: list[bytes] = []
        while (body := self.take()) is not None:
            bodies.append(body)
        return bodies
