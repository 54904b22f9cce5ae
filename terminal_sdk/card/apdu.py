"""Commands and responses between terminal and card (ISO 7816-4 5.1): parsing, encoding, status words."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

SHORT_LE_MAX = 256
EXTENDED_LE_MAX = 65536
SHORT_LC_MAX = 255
HEADER_BYTES = 4
EXTENDED_LENGTH_BYTES = 3
"""00, then a length of two bytes."""
STATUS_BYTES = 2
_STATUS_CLASSES = (0x6, 0x9)


class Ins(enum.IntEnum):
    """Instruction bytes the cards know."""

    VERIFY = 0x20
    GET_CHALLENGE = 0x84
    INTERNAL_AUTHENTICATE = 0x88
    SELECT = 0xA4
    GET_PROCESSING_OPTIONS = 0xA8
    GENERATE_AC = 0xAE
    READ_BINARY = 0xB0
    READ_RECORD = 0xB2
    GET_RESPONSE = 0xC0
    UPDATE_BINARY = 0xD6
    UPDATE_RECORD = 0xDC


class Status(enum.IntEnum):
    """Status words (ISO 7816-4 5.1.3); ``BYTES_AVAILABLE``, ``TRIES_LEFT`` and ``WRONG_LE`` carry a count as well."""

    OK = 0x9000
    BYTES_AVAILABLE = 0x6100
    END_OF_FILE = 0x6282
    TRIES_LEFT = 0x63C0
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    WRONG_FILE_STRUCTURE = 0x6981
    SECURITY_NOT_SATISFIED = 0x6982
    PIN_BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    NO_CURRENT_EF = 0x6986
    WRONG_DATA = 0x6A80
    FILE_NOT_FOUND = 0x6A82
    RECORD_NOT_FOUND = 0x6A83
    WRONG_P1P2 = 0x6A86
    WRONG_OFFSET = 0x6B00
    WRONG_LE = 0x6C00
    WRONG_INS = 0x6D00
    WRONG_CLA = 0x6E00


class ApduInvalid(ValueError):
    """Bytes that are no command or no response at all (their lengths do not fit)."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``le``: how many bytes are wanted at most (1–65536), None if none; data stay out of ``repr``."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    le: int | None = None

    @property
    def p1p2(self) -> int:
        """Both parameter bytes as one number."""
        return self.p1 << 8 | self.p2

    def encode(self) -> bytes:
        """The bytes of the command: short lengths where they suffice, extended ones where they do not."""
        header = bytes([self.cla, self.ins, self.p1, self.p2])
        if len(self.data) <= SHORT_LC_MAX and (self.le or 0) <= SHORT_LE_MAX:
            lc = bytes([len(self.data)]) if self.data else b""
            le = bytes([self.le & 0xFF]) if self.le is not None else b""
            return header + lc + self.data + le
        if len(self.data) > EXTENDED_LE_MAX - 1 or (self.le or 0) > EXTENDED_LE_MAX:
            raise ApduInvalid("more data than an extended command can carry or ask for")
        lc = len(self.data).to_bytes(2, "big") if self.data else b""
        le = (self.le & 0xFFFF).to_bytes(2, "big") if self.le is not None else b""
        return header + b"\x00" + lc + self.data + le

    @classmethod
    def parse(cls, raw: bytes) -> Command:
        """Read a command of any of the four cases, short or extended. Raises ``ApduInvalid``."""
        if len(raw) < HEADER_BYTES:
            raise ApduInvalid("a command has at least four bytes")
        cla, ins, p1, p2 = raw[:HEADER_BYTES]
        body = raw[HEADER_BYTES:]
        data, le = _extended_body(body[1:]) if is_extended(raw) else _short_body(body)
        return cls(cla, ins, p1, p2, data, le)


def is_extended(raw: bytes) -> bool:
    """Whether a command uses extended length fields, which the T=0 protocol cannot carry."""
    return len(raw) >= HEADER_BYTES + EXTENDED_LENGTH_BYTES and raw[HEADER_BYTES] == 0


def _short_body(body: bytes) -> tuple[bytes, int | None]:
    if not body:
        return b"", None
    if len(body) == 1:
        return b"", body[0] or SHORT_LE_MAX
    lc, rest = body[0], body[1:]
    if lc and len(rest) == lc:
        return rest, None
    if lc and len(rest) == lc + 1:
        return rest[:lc], rest[lc] or SHORT_LE_MAX
    raise ApduInvalid("Lc does not fit the command's length")


def _extended_body(body: bytes) -> tuple[bytes, int | None]:
    first = int.from_bytes(body[:2], "big")
    rest = body[2:]
    if not rest:
        return b"", first or EXTENDED_LE_MAX
    if first and len(rest) == first:
        return rest, None
    if first and len(rest) == first + 2:
        return rest[:first], int.from_bytes(rest[first:], "big") or EXTENDED_LE_MAX
    raise ApduInvalid("extended Lc does not fit the command's length")


@dataclass(frozen=True, slots=True)
class Response:
    """What a card answered: data, which stay out of ``repr``, and the status word."""

    status: int
    data: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status word is 9000."""
        return self.status == Status.OK

    def encode(self) -> bytes:
        """Data, then SW1 and SW2."""
        return self.data + self.status.to_bytes(2, "big")

    @classmethod
    def parse(cls, raw: bytes) -> Response:
        """Split a response. Raises ``ApduInvalid`` if it has no status word (SW1 is 6x or 9x)."""
        if len(raw) < STATUS_BYTES or raw[-STATUS_BYTES] >> 4 not in _STATUS_CLASSES:
            raise ApduInvalid("the response ends in no status word")
        return cls(int.from_bytes(raw[-STATUS_BYTES:], "big"), raw[:-STATUS_BYTES])
