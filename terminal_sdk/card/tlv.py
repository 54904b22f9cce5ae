"""Tag-length-value as cards write it (ISO 7816-4 5.2.2, BER): strict parsing and encoding of one level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from terminal_sdk.card.errors import MalformedCardData

MAX_LENGTH = 0xFFFF
"""Length fields take one to three bytes (``00``–``7F``, ``81 xx``, ``82 xx xx``)."""
MAX_TAG_BYTES = 3

_SHORT_LENGTH_LIMIT = 0x80
_ONE_BYTE_MAX = 0xFF
_MULTI_BYTE_TAG = 0x1F
_MORE_TAG_BYTES = 0x80
_CONSTRUCTED = 0x20


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object. ``tag`` is the whole tag as a number (``0x5F24``); the value stays out of ``repr``."""

    tag: int
    value: bytes = field(repr=False)

    @property
    def constructed(self) -> bool:
        """Whether the value is itself a sequence of data objects (bit 6 of the first tag byte)."""
        return bool(_tag_bytes(self.tag)[0] & _CONSTRUCTED)

    def encode(self) -> bytes:
        """The bytes of this object, its length in the shortest form."""
        return encode(self.tag, self.value)


def encode(tag: int, value: bytes) -> bytes:
    """Tag, length in the shortest form, value. Raises ``ValueError`` for a tag or length that cannot be written."""
    return _tag_bytes(tag) + _length_bytes(len(value)) + value


def parse(data: bytes, where: str) -> list[Tlv]:
    """All data objects of ``data``, which they must fill exactly; nested ones are not opened.

    Strict: no padding, no indefinite length, no length longer than needed. ``where`` names the place (file, record) in
    the error. Raises ``MalformedCardData`` and nothing else.
    """
    objects: list[Tlv] = []
    offset = 0
    while offset < len(data):
        tag, offset = _read_tag(data, offset, where)
        length, offset = _read_length(data, offset, where)
        end = offset + length
        if end > len(data):
            raise MalformedCardData(where, f"value of tag {tag:02X} runs {end - len(data)} bytes past the end")
        objects.append(Tlv(tag, data[offset:end]))
        offset = end
    return objects


def parse_one(data: bytes, tag: int, where: str) -> bytes:
    """The value of the only data object in ``data``, which must bear ``tag``. Raises ``MalformedCardData``."""
    objects = parse(data, where)
    if len(objects) != 1:
        raise MalformedCardData(where, f"{len(objects)} data objects instead of one")
    if objects[0].tag != tag:
        raise MalformedCardData(where, f"tag {objects[0].tag:02X} instead of {tag:02X}")
    return objects[0].value


def find(objects: Sequence[Tlv], tag: int, where: str) -> bytes:
    """The value of the one object with ``tag``. Raises ``MalformedCardData`` if it is missing or doubled."""
    found = [entry.value for entry in objects if entry.tag == tag]
    if len(found) != 1:
        raise MalformedCardData(where, f"tag {tag:02X} is {'missing' if not found else 'there more than once'}")
    return found[0]


def _read_tag(data: bytes, offset: int, where: str) -> tuple[int, int]:
    first = data[offset]
    if first in (0x00, 0xFF):
        raise MalformedCardData(where, f"byte {offset} is {first:02X}, which begins no tag")
    end = offset + 1
    if first & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
        while True:
            if end >= len(data):
                raise MalformedCardData(where, f"the tag at byte {offset} is cut off")
            if end - offset >= MAX_TAG_BYTES:
                raise MalformedCardData(where, f"the tag at byte {offset} is longer than {MAX_TAG_BYTES} bytes")
            if end == offset + 1 and data[end] == _MORE_TAG_BYTES:
                raise MalformedCardData(where, f"the tag at byte {offset} has a leading zero")
            end += 1
            if not data[end - 1] & _MORE_TAG_BYTES:
                break
    return int.from_bytes(data[offset:end], "big"), end


def _read_length(data: bytes, offset: int, where: str) -> tuple[int, int]:
    if offset >= len(data):
        raise MalformedCardData(where, f"the length at byte {offset} is missing")
    first = data[offset]
    if first < _SHORT_LENGTH_LIMIT:
        return first, offset + 1
    size = first - _SHORT_LENGTH_LIMIT
    if size not in (1, 2):
        raise MalformedCardData(where, f"the length at byte {offset} has the form {first:02X}")
    end = offset + 1 + size
    if end > len(data):
        raise MalformedCardData(where, f"the length at byte {offset} is cut off")
    length = int.from_bytes(data[offset + 1 : end], "big")
    if length < (_SHORT_LENGTH_LIMIT if size == 1 else _ONE_BYTE_MAX + 1):
        raise MalformedCardData(where, f"the length at byte {offset} is longer than it need be")
    return length, end


def _tag_bytes(tag: int) -> bytes:
    if tag <= 0:
        raise ValueError("a tag is a positive number")
    encoded = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    try:
        parsed, end = _read_tag(encoded, 0, "tag")
    except MalformedCardData as error:
        raise ValueError(f"{tag:X} is not a tag") from error
    if parsed != tag or end != len(encoded):
        raise ValueError(f"{tag:X} is not a tag")
    return encoded


def _length_bytes(length: int) -> bytes:
    if length < _SHORT_LENGTH_LIMIT:
        return bytes([length])
    if length <= _ONE_BYTE_MAX:
        return bytes([0x81, length])
    if length <= MAX_LENGTH:
        return b"\x82" + length.to_bytes(2, "big")
    raise ValueError(f"{length} bytes do not fit a length of three bytes")
