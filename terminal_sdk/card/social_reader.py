"""Reading the social security application from the terminal's side: select it, its records, its certificate."""

from __future__ import annotations

from collections.abc import Mapping

from terminal_sdk.card import layout, tlv
from terminal_sdk.card.apdu import Command, Ins, Response, Status
from terminal_sdk.card.channel import Channel
from terminal_sdk.card.errors import (
    CertificateUnreadable,
    MalformedCardData,
    NotASocialSecurityCard,
    UnexpectedStatus,
)
from terminal_sdk.crypto import Certificate, CryptoError

CHUNK_BYTES = 0xF0
MAX_CERTIFICATE_BYTES = 4096
_TAG_AND_LENGTH = 2
_BY_NAME = 0x04
_BY_IDENTIFIER = 0x00
_BY_NUMBER = 0x04
_FUNCTION_NOT_SUPPORTED = 0x6A81
_NO_SUCH_IDENTIFIER = (Status.WRONG_P1P2, Status.RECORD_NOT_FOUND, _FUNCTION_NOT_SUPPORTED)
_NOT_THERE = (Status.FILE_NOT_FOUND, Status.RECORD_NOT_FOUND, _FUNCTION_NOT_SUPPORTED)
_SEQUENCE = 0x30
_DER_HEADER_BYTES = 4
_DER_LONG_LENGTH = 0x82


def select_application(channel: Channel) -> None:
    """Make the social security application current. Raises ``NotASocialSecurityCard``, ``UnexpectedStatus``."""
    response = channel.send(Command(0x00, Ins.SELECT, _BY_NAME, 0x00, layout.SOCIAL_AID, le=0x100))
    if response.status in _NOT_THERE:
        raise NotASocialSecurityCard("the card has no social security application")
    if not response.ok:
        raise UnexpectedStatus("SELECT of the social security application", response.status)


def read_public(channel: Channel) -> tuple[layout.PublicFile, bytes]:
    """EF05, and its records in one piece as they were read. Raises ``MalformedCardData``, ``UnexpectedStatus``."""
    values = _read_records(channel, layout.EF_PUBLIC, layout.PUBLIC_LENGTHS, may_be_locked=False)
    static_data = b"".join(tlv.encode(tag, value) for tag, value in values.items())
    return layout.public_file(values), static_data


def read_holder(channel: Channel) -> tuple[str | None, str | None]:
    """Name and social security number from EF06; None while they are locked.

    Raises ``MalformedCardData``, ``UnexpectedStatus``.
    """
    return layout.holder_name_and_number(
        _read_records(channel, layout.EF_HOLDER, layout.HOLDER_LENGTHS, may_be_locked=True)
    )


def read_certificate(channel: Channel) -> Certificate:
    """The card's certificate, read in chunks. Raises ``CertificateUnreadable``, ``UnexpectedStatus``."""
    select_file(channel, layout.EF_CERTIFICATE)
    der = _read_der(channel)
    try:
        return Certificate.from_der(der)
    except CryptoError as error:
        raise CertificateUnreadable("EF10", "is not a certificate") from error


def read_check_value(channel: Channel) -> bytes:
    """A legacy card's check value, eight bytes. Raises ``MalformedCardData``, ``UnexpectedStatus``."""
    select_file(channel, layout.EF_CHECK_VALUE)
    value = _read_binary(channel, 0, layout.CHECK_VALUE_BYTES, "EF11")
    if len(value) != layout.CHECK_VALUE_BYTES:
        raise MalformedCardData("EF11", f"{len(value)} bytes instead of {layout.CHECK_VALUE_BYTES}")
    return value


def select_file(channel: Channel, file_id: int) -> None:
    """Make a file of the current application current. Raises ``UnexpectedStatus``."""
    response = channel.send(Command(0x00, Ins.SELECT, 0x00, 0x00, file_id.to_bytes(2, "big"), le=0x100))
    if not response.ok:
        raise UnexpectedStatus(f"SELECT of EF {file_id:04X}", response.status)


def _read_records(
    channel: Channel, file_id: int, lengths: Mapping[int, int], *, may_be_locked: bool
) -> dict[int, bytes]:
    select_file(channel, file_id)
    values: dict[int, bytes] = {}
    for number, (tag, length) in enumerate(lengths.items(), start=1):
        where = f"EF{file_id & 0xFF:02X} tag {tag:02X}"
        response = _read_record(channel, tag, number, length)
        if may_be_locked and response.status == Status.SECURITY_NOT_SATISFIED:
            values[tag] = b""
        elif response.status in (Status.OK, Status.END_OF_FILE):
            values[tag] = tlv.parse_one(response.data, tag, where)
        else:
            raise UnexpectedStatus(f"READ RECORD of {where}", response.status)
    return values


def _read_record(channel: Channel, tag: int, number: int, length: int) -> Response:
    """By identifier, which is the tag; cards that do not know that are asked by number."""
    le = _TAG_AND_LENGTH + length
    response = channel.send(Command(0x00, Ins.READ_RECORD, tag, _BY_IDENTIFIER, le=le))
    if response.status in _NO_SUCH_IDENTIFIER:
        response = channel.send(Command(0x00, Ins.READ_RECORD, number, _BY_NUMBER, le=le))
    return response


def _read_der(channel: Channel) -> bytes:
    where = "EF10"
    header = _read_binary(channel, 0, _DER_HEADER_BYTES, where)
    # A certificate is a SEQUENCE of 256 bytes to MAX_CERTIFICATE_BYTES; its own length says how far to read, since
    # the file may be longer.
    if len(header) != _DER_HEADER_BYTES or header[0] != _SEQUENCE or header[1] != _DER_LONG_LENGTH:
        raise CertificateUnreadable(where, "does not begin like a certificate")
    size = _DER_HEADER_BYTES + int.from_bytes(header[2:], "big")
    if size > MAX_CERTIFICATE_BYTES:
        raise CertificateUnreadable(where, f"claims more than {MAX_CERTIFICATE_BYTES} bytes")
    der = header
    while len(der) < size:
        chunk = _read_binary(channel, len(der), min(CHUNK_BYTES, size - len(der)), where)
        if not chunk:
            raise CertificateUnreadable(where, f"ends after {len(der)} of {size} bytes")
        der += chunk
    return der


def _read_binary(channel: Channel, offset: int, length: int, where: str) -> bytes:
    """Up to ``length`` bytes; fewer, or none, where the file ends."""
    response = channel.send(Command(0x00, Ins.READ_BINARY, offset >> 8, offset & 0xFF, le=length))
    if response.status == Status.WRONG_OFFSET:
        return b""
    if response.status not in (Status.OK, Status.END_OF_FILE):
        raise UnexpectedStatus(f"READ BINARY of {where}", response.status)
    if len(response.data) > length:
        raise MalformedCardData(where, "more bytes than were asked for")
    return response.data
