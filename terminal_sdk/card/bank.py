"""The bank application's data objects (EMV book 3, PBOC 3.0): how a card writes them and how a terminal reads them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from terminal_sdk.card import tlv
from terminal_sdk.card.errors import MalformedCardData

BANK_AID = bytes.fromhex("A000000333010101")
"""UnionPay debit."""
PPSE_NAME = b"2PAY.SYS.DDF01"
"""The directory of payment applications on the contactless interface."""

RECORD_FILE_SFI = 1
EMPTY_COMMAND_DATA = bytes.fromhex("8300")
"""Data of GET PROCESSING OPTIONS for a card that asks for none (no 9F38 in its FCI)."""

PAN = re.compile(r"[0-9]{13,19}")
MAX_AFL_ENTRIES = 16
MAX_RECORDS = 32
_LABEL = 0x50
_TRACK_2 = 0x57
_DIRECTORY_ENTRY = 0x61
_OPTIONS_FORMAT_2 = 0x77
_AFL_ENTRY_BYTES = 4
_AIP = bytes.fromhex("7C00")
_SERVICE_CODE = "220"  # ICC card, online authorisation, no restrictions
_DISCRETIONARY = "00000000"
_NO_NAME = b" /"
_LABEL_MAX = 16
_CENTURY = 2000
_EXPIRY_BYTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BankApplication:
    """What a terminal needs of the bank application. ``label``: how it shows itself; ``expiry``: its last valid day."""

    pan: str = field(repr=False)
    label: str
    expiry: dt.date


def fci(aid: bytes, label: str | None = None) -> bytes:
    """File control information of an application: 6F with 84 (name), A5 with 50 (label) and 87 (priority 1)."""
    proprietary = b""
    if label is not None:
        proprietary = tlv.encode(0x50, label.encode("ascii")) + tlv.encode(0x87, b"\x01")
    return tlv.encode(0x6F, tlv.encode(0x84, aid) + tlv.encode(0xA5, proprietary))


def ppse_fci(label: str) -> bytes:
    """The PPSE's answer: one directory entry (61) for the bank application inside BF0C."""
    entry = tlv.encode(0x4F, BANK_AID) + tlv.encode(0x50, label.encode("ascii")) + tlv.encode(0x87, b"\x01")
    proprietary = tlv.encode(0xA5, tlv.encode(0xBF0C, tlv.encode(0x61, entry)))
    return tlv.encode(0x6F, tlv.encode(0x84, PPSE_NAME) + proprietary)


def processing_options(records: int) -> bytes:
    """Format 1 answer (80): application interchange profile, then where the records lie (SFI 1, 1 to ``records``)."""
    return tlv.encode(0x80, _AIP + bytes([RECORD_FILE_SFI << 3, 1, records, 0]))


def records(pan: str, expiry: dt.date) -> list[bytes]:
    """The two records (70). The name (5F20) is `` /``, EMV's sign for a name that is not on the chip."""
    track2 = _packed(f"{pan}D{expiry:%y%m}{_SERVICE_CODE}{_DISCRETIONARY}")
    first = tlv.encode(0x57, track2) + tlv.encode(0x5F20, _NO_NAME)
    second = tlv.encode(0x5A, _packed(pan)) + tlv.encode(0x5F24, bytes.fromhex(f"{expiry:%y%m%d}"))
    return [tlv.encode(0x70, first), tlv.encode(0x70, second)]


def parse_label(answer: bytes, aid: bytes) -> str:
    """The label from an application's FCI (empty if it has none). Raises ``MalformedCardData``."""
    where = "bank application FCI"
    template = tlv.parse(tlv.parse_one(answer, 0x6F, where), where)
    if not tlv.find(template, 0x84, where).startswith(aid):
        raise MalformedCardData(where, "names another application")
    proprietary = tlv.parse(tlv.find(template, 0xA5, where), where)
    label = next((entry.value for entry in proprietary if entry.tag == _LABEL), b"")
    text = label.decode("ascii", "replace")
    if len(label) > _LABEL_MAX or not (text.isprintable() and text.isascii()):
        raise MalformedCardData(where, "the label (50) is not printable")
    return text.strip()


def parse_ppse(answer: bytes) -> list[bytes]:
    """The application identifiers of a PPSE answer, in the card's order. Raises ``MalformedCardData``."""
    where = "PPSE"
    template = tlv.parse(tlv.parse_one(answer, 0x6F, where), where)
    proprietary = tlv.parse(tlv.find(template, 0xA5, where), where)
    directory = tlv.parse(tlv.find(proprietary, 0xBF0C, where), where)
    entries = [entry.value for entry in directory if entry.tag == _DIRECTORY_ENTRY]
    return [tlv.find(tlv.parse(entry, where), 0x4F, where) for entry in entries]


def parse_record_list(answer: bytes) -> list[tuple[int, int]]:
    """(SFI, record number) of every record that GET PROCESSING OPTIONS names; formats 1 (80) and 2 (77).

    Raises ``MalformedCardData``, also for a list longer than any card needs.
    """
    where = "processing options"
    objects = tlv.parse(answer, where)
    if len(objects) != 1:
        raise MalformedCardData(where, "is not one data object")
    if objects[0].tag == _OPTIONS_FORMAT_2:
        locator = tlv.find(tlv.parse(objects[0].value, where), 0x94, where)
    else:
        locator = tlv.parse_one(answer, 0x80, where)[len(_AIP) :]
    if not locator or len(locator) % _AFL_ENTRY_BYTES or len(locator) > MAX_AFL_ENTRIES * _AFL_ENTRY_BYTES:
        raise MalformedCardData(where, "the file locator has a wrong length")
    found: list[tuple[int, int]] = []
    for offset in range(0, len(locator), _AFL_ENTRY_BYTES):
        sfi_byte, first, last, _ = locator[offset : offset + _AFL_ENTRY_BYTES]
        if sfi_byte & 0x07 or not 0 < first <= last:
            raise MalformedCardData(where, "a file locator entry is wrong")
        found += [(sfi_byte >> 3, number) for number in range(first, last + 1)]
    if len(found) > MAX_RECORDS:
        raise MalformedCardData(where, f"names more than {MAX_RECORDS} records")
    return found


def parse_records(read: Sequence[bytes], label: str) -> BankApplication:
    """Account number and expiry from all records read. Raises ``MalformedCardData``."""
    where = "bank application records"
    objects = [entry for record in read for entry in tlv.parse(tlv.parse_one(record, 0x70, where), where)]
    pan = _unpacked(tlv.find(objects, 0x5A, where), f"{where} tag 5A")
    track2 = [entry.value.hex().split("d")[0] for entry in objects if entry.tag == _TRACK_2]
    if any(number != pan for number in track2):
        raise MalformedCardData(where, "account number (5A) and track 2 (57) disagree")
    return BankApplication(pan=pan, label=label, expiry=_expiry(tlv.find(objects, 0x5F24, where)))


def _packed(digits: str) -> bytes:
    return bytes.fromhex(digits if len(digits) % 2 == 0 else digits + "F")


def _unpacked(value: bytes, where: str) -> str:
    digits = value.hex().removesuffix("f")
    if not PAN.fullmatch(digits):
        raise MalformedCardData(where, "is not an account number")
    return digits


def _expiry(value: bytes) -> dt.date:
    where = "bank application records tag 5F24"
    if len(value) != _EXPIRY_BYTES:
        raise MalformedCardData(where, f"{len(value)} bytes instead of {_EXPIRY_BYTES}")
    digits = value.hex()
    try:
        return dt.date(_CENTURY + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError as error:
        raise MalformedCardData(where, "is not a date") from error
