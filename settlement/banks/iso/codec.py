"""Writing and reading messages: ISO 8583 fields to bytes and back, with the MAC in the last field."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import iso8583

from settlement.banks.iso.spec import MAX_BODY_BYTES, PATTERNS, SPEC
from terminal_sdk.crypto import sm4_cbc_mac

MAC_BYTES = 8
_MAC_CHARACTERS = MAC_BYTES * 2
_LAST_PRIMARY_FIELD = 64
_NOT_DATA = frozenset({"p", "1", "64", "128"})


class MessageError(Exception):
    """These bytes or fields are not a message of the dialect. The text names the field, never its value."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came: ``fields`` by number (``t`` is the type; bitmaps and MAC left out) and the raw body."""

    fields: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def mti(self) -> str:
        """The message type."""
        return self.fields["t"]

    def get(self, number: str) -> str:
        """The field's text, empty when the message does not have it."""
        return self.fields.get(number, "")

    def mac_is_valid(self, mac_key: bytes) -> bool:
        """Whether the last field is this key's MAC over everything before it."""
        claimed = self.body[-_MAC_CHARACTERS:]
        return hmac.compare_digest(claimed, _mac(mac_key, self.body[:-_MAC_CHARACTERS]))


def _mac(mac_key: bytes, covered: bytes) -> bytes:
    return sm4_cbc_mac(mac_key, covered)[:MAC_BYTES].hex().upper().encode("ascii")


def _check(fields: Mapping[str, str]) -> None:
    for number, value in fields.items():
        pattern = PATTERNS.get(number)
        if pattern is None:
            raise MessageError(f"field {number} is not part of this dialect")
        if not pattern.fullmatch(value):
            raise MessageError(f"field {number} is malformed")


def pack(fields: Mapping[str, str], mac_key: bytes) -> bytes:
    """The body of a message. Bitmaps and the MAC (64, or 128 when there is a second bitmap) are added here.

    Raises ``MessageError`` when a field is unknown or malformed, or the message too long.
    """
    _check(fields)
    numbers = [int(number) for number in fields if number != "t"]
    mac_field = "128" if max(numbers, default=0) > _LAST_PRIMARY_FIELD else "64"
    document = {**fields, mac_field: "0" * _MAC_CHARACTERS}
    try:
        encoded, _ = iso8583.encode(document, SPEC)
    except iso8583.EncodeError as error:
        raise MessageError(f"{error.msg}: field {error.field}") from None
    covered = bytes(encoded[:-_MAC_CHARACTERS])
    if len(encoded) > MAX_BODY_BYTES:
        raise MessageError("the message is too long")
    return covered + _mac(mac_key, covered)


def unpack(body: bytes) -> Message:
    """Read a body; the MAC is not judged yet (``Message.mac_is_valid``). Raises ``MessageError``."""
    try:
        decoded, _ = iso8583.decode(body, SPEC)
    except iso8583.DecodeError as error:
        raise MessageError(f"{error.msg}: field {error.field}") from None
    except KeyError as error:
        raise MessageError(f"field {error.args[0]} is not part of this dialect") from None
    mac_field = "128" if "1" in decoded else "64"
    if mac_field not in decoded or ("64" in decoded and mac_field == "128"):
        raise MessageError("the MAC is not the last field")
    fields = {number: value for number, value in decoded.items() if number not in _NOT_DATA and number != "h"}
    _check(fields)
    return Message(fields, body)
