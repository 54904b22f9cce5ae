"""What lies where on a social security card: application names, files, the fields of EF05 and EF06 byte for byte."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from terminal_sdk.card import tlv
from terminal_sdk.card.errors import MalformedCardData

SOCIAL_AID = bytes.fromhex("7378312E73682EC9E7BBE1B1A3D5CF")
"""The social security application: GBK of ``sx1.sh.社会保障``."""

EF_PUBLIC = 0xEF05
"""Issuer's data: records 01–07, always readable."""
EF_HOLDER = 0xEF06
"""The holder's data: records 08–0D; on version 3.00 empty until the PIN is verified."""
EF_CERTIFICATE = 0xEF10
"""The SM2 certificate, DER, transparent (third generation). The file number is this project's choice."""
EF_CHECK_VALUE = 0xEF11
"""The eight-byte check value, transparent (legacy). The file number is this project's choice."""

PUBLIC_LENGTHS: Mapping[int, int] = {0x01: 16, 0x02: 1, 0x03: 4, 0x04: 12, 0x05: 4, 0x06: 4, 0x07: 9}
"""EF05: tag → exact length of the value in bytes."""
HOLDER_LENGTHS: Mapping[int, int] = {0x08: 18, 0x09: 30, 0x0A: 1, 0x0B: 1, 0x0C: 3, 0x0D: 4}
"""EF06: tag → exact length of the value in bytes."""
CHECK_VALUE_BYTES = 8
CHALLENGE_BYTES = 32
PROOF_BYTES = 4 + 64
"""INTERNAL AUTHENTICATE answers counter (4, big-endian) and signature r‖s (64)."""

VERSION_THIRD = "3.00"
VERSION_LEGACY = "2.00"
CARD_TYPE_PERSON = b"1"

CARD_NUMBER = re.compile(r"[A-Z0-9]{9}")
SOCIAL_SECURITY_NUMBER = re.compile(r"[0-9]{17}[0-9X]")
VERSION = re.compile(r"[0-9]\.[0-9]{2}")

_TEXT_CODEC = "gb18030"
# GB18030 holds all of GBK with the same bytes, and the rare characters of names beside; 00 and 20 end no character.
_PADDING = b"\x00 "


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicFile:
    """EF05. ``identification``: 16 bytes, the first three are the region (six digits, BCD)."""

    identification: bytes = field(repr=False)
    version: str
    issuer: str
    issued_on: dt.date
    expires_on: dt.date
    card_number: str = field(repr=False)

    @property
    def region(self) -> str:
        """The region's six digits."""
        return self.identification[:3].hex()

    def records(self) -> list[bytes]:
        """The seven records, in the order of their tags."""
        values = {
            0x01: self.identification,
            0x02: CARD_TYPE_PERSON,
            0x03: self.version.encode("ascii"),
            0x04: padded_text(self.issuer, PUBLIC_LENGTHS[0x04]),
            0x05: bcd_date(self.issued_on),
            0x06: bcd_date(self.expires_on),
            0x07: self.card_number.encode("ascii"),
        }
        return _records(values, PUBLIC_LENGTHS)

    def static_data(self) -> bytes:
        """All records in one piece: what a legacy card's check value stands over. Holds no name and no ID number."""
        return b"".join(self.records())


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderFile:
    """EF06. ``sex`` 1 or 2 (GB/T 2261.1), ``ethnicity`` two digits (GB/T 3304), ``birthplace`` six (GB/T 2260)."""

    social_security_number: str = field(repr=False)
    name: str = field(repr=False)
    sex: str = field(repr=False)
    ethnicity: str = field(repr=False)
    birthplace: str = field(repr=False)
    birth_date: dt.date = field(repr=False)

    def records(self) -> list[bytes]:
        """The six records, in the order of their tags."""
        values = {
            0x08: self.social_security_number.encode("ascii"),
            0x09: padded_text(self.name, HOLDER_LENGTHS[0x09]),
            0x0A: self.sex.encode("ascii"),
            0x0B: bytes.fromhex(self.ethnicity),
            0x0C: bytes.fromhex(self.birthplace),
            0x0D: bcd_date(self.birth_date),
        }
        return _records(values, HOLDER_LENGTHS)


def public_file(values: Mapping[int, bytes], where: str = "EF05") -> PublicFile:
    """EF05 from its values by tag. Raises ``MalformedCardData``."""
    _check_lengths(values, PUBLIC_LENGTHS, where)
    identification = values[0x01]
    if not _is_bcd(identification[:3]):
        raise MalformedCardData(f"{where} tag 01", "the region is not six digits")
    return PublicFile(
        identification=identification,
        version=_ascii(values[0x03], VERSION, f"{where} tag 03"),
        issuer=_issuer(values[0x04]),
        issued_on=_date(values[0x05], f"{where} tag 05"),
        expires_on=_date(values[0x06], f"{where} tag 06"),
        card_number=_ascii(values[0x07], CARD_NUMBER, f"{where} tag 07"),
    )


def holder_name_and_number(values: Mapping[int, bytes], where: str = "EF06") -> tuple[str | None, str | None]:
    """Name and social security number from EF06, None for each that is locked (empty). Raises ``MalformedCardData``."""
    number, name = values[0x08], values[0x09]
    _check_lengths({tag: value for tag, value in values.items() if value}, HOLDER_LENGTHS, where, whole=False)
    return (
        _text(name, f"{where} tag 09") or None,
        _ascii(number, SOCIAL_SECURITY_NUMBER, f"{where} tag 08") if number.strip(_PADDING) else None,
    )


def parse_static_data(static_data: bytes) -> PublicFile:
    """What a legacy card's static data say, for whoever checks its proof. Raises ``MalformedCardData``."""
    where = "static data"
    objects = tlv.parse(static_data, where)
    if [entry.tag for entry in objects] != list(PUBLIC_LENGTHS):
        raise MalformedCardData(where, "the tags are not 01 to 07 in their order")
    return public_file({entry.tag: entry.value for entry in objects}, where)


def padded_text(text: str, length: int) -> bytes:
    """Text in GBK (GB18030), filled with spaces. Raises ``ValueError`` if it does not fit."""
    encoded = text.encode(_TEXT_CODEC)
    if len(encoded) > length:
        raise ValueError(f"takes more than {length} bytes")
    return encoded.ljust(length, b" ")


def bcd_date(date: dt.date) -> bytes:
    """YYYYMMDD, two digits a byte."""
    return bytes.fromhex(f"{date.year:04d}{date.month:02d}{date.day:02d}")


def _records(values: Mapping[int, bytes], lengths: Mapping[int, int]) -> list[bytes]:
    for tag, length in lengths.items():
        if len(values[tag]) != length:
            raise ValueError(f"tag {tag:02X} takes {length} bytes")
    return [tlv.encode(tag, values[tag]) for tag in lengths]


def _check_lengths(values: Mapping[int, bytes], lengths: Mapping[int, int], where: str, *, whole: bool = True) -> None:
    tags: Sequence[int] = list(lengths) if whole else list(values)
    for tag in tags:
        if len(values[tag]) != lengths[tag]:
            raise MalformedCardData(f"{where} tag {tag:02X}", f"{len(values[tag])} bytes instead of {lengths[tag]}")


def _is_bcd(value: bytes) -> bool:
    return value.hex().isdecimal()


def _ascii(value: bytes, pattern: re.Pattern[str], where: str) -> str:
    text = value.decode("ascii", "replace")
    if not pattern.fullmatch(text):
        raise MalformedCardData(where, "the characters are not those of this field")
    return text


def _text(value: bytes, where: str) -> str:
    try:
        text = value.rstrip(_PADDING).decode(_TEXT_CODEC)
    except UnicodeDecodeError as error:
        raise MalformedCardData(where, "is not GBK text") from error
    if not text.isprintable():
        raise MalformedCardData(where, "holds control characters")
    return text


def _issuer(value: bytes) -> str:
    # Some issuers write their code in BCD instead of text; it is shown in hex then.
    try:
        return _text(value, "issuer")
    except MalformedCardData:
        return value.hex()


def _date(value: bytes, where: str) -> dt.date:
    digits = value.hex()
    try:
        return dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise MalformedCardData(where, "is not a date") from error
