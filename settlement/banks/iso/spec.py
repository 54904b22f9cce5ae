"""Which fields the bank dialect has, how each is laid out, and the values with a fixed meaning."""

from __future__ import annotations

import enum
import re
from typing import Any, Final

MAX_BODY_BYTES: Final = 1_024
"""No message of this dialect is longer; a longer frame is garbage."""

DEBIT_CODE: Final = "000000"
"""Field 3 of a debit."""
RETURN_CODE: Final = "200000"
"""Field 3 of a void (in a 0200) and of a refund (in a 0220)."""
INQUIRY_CODE: Final = "330000"
"""Field 3 of an inquiry (private use: status of an earlier message)."""

CURRENCY_CNY: Final = "156"
"""Field 49, ISO 4217."""


class Mti(enum.StrEnum):
    """Message types; an answer's type is the request's with its third digit raised by one."""

    FINANCIAL = "0200"
    FINANCIAL_ANSWER = "0210"
    REFUND = "0220"
    REFUND_ANSWER = "0230"
    REVERSAL = "0400"
    REVERSAL_ANSWER = "0410"
    ADVICE = "0420"
    ADVICE_ANSWER = "0430"
    INQUIRY = "0600"
    INQUIRY_ANSWER = "0610"
    NETWORK = "0800"
    NETWORK_ANSWER = "0810"


ANSWER_OF: Final[dict[str, str]] = {
    Mti.FINANCIAL: Mti.FINANCIAL_ANSWER,
    Mti.REFUND: Mti.REFUND_ANSWER,
    Mti.REVERSAL: Mti.REVERSAL_ANSWER,
    Mti.ADVICE: Mti.ADVICE_ANSWER,
    Mti.INQUIRY: Mti.INQUIRY_ANSWER,
    Mti.NETWORK: Mti.NETWORK_ANSWER,
}
"""Request type → answer type."""


class NetworkCode(enum.StrEnum):
    """Field 70 of a network message."""

    SIGN_ON = "001"
    SIGN_OFF = "002"
    KEY_CHANGE = "101"
    ECHO = "301"


def _fixed(length: int, description: str) -> dict[str, Any]:
    return {"data_enc": "ascii", "len_enc": "ascii", "len_type": 0, "max_len": length, "desc": description}


def _variable(digits: int, most: int, description: str) -> dict[str, Any]:
    return {"data_enc": "ascii", "len_enc": "ascii", "len_type": digits, "max_len": most, "desc": description}


SPEC: Final[dict[str, dict[str, Any]]] = {
    "h": _fixed(0, "header (none)"),
    "t": _fixed(4, "message type"),
    "p": _fixed(16, "primary bitmap, hex"),
    "1": _fixed(16, "secondary bitmap, hex"),
    "2": _variable(2, 19, "account number (PAN)"),
    "3": _fixed(6, "processing code"),
    "4": _fixed(12, "amount, fen"),
    "7": _fixed(10, "transmission date and time, MMDDhhmmss UTC"),
    "11": _fixed(6, "system trace audit number"),
    "12": _fixed(6, "local time, hhmmss"),
    "13": _fixed(4, "local date, MMDD"),
    "15": _fixed(4, "settlement date of the bank, MMDD"),
    "32": _variable(2, 11, "acquiring institution"),
    "37": _fixed(12, "retrieval reference number"),
    "38": _fixed(6, "authorisation of the bank"),
    "39": _fixed(2, "response code"),
    "41": _fixed(8, "terminal"),
    "42": _fixed(15, "institution, padded with blanks"),
    "48": _variable(3, 255, "sealed working keys, hex"),
    "49": _fixed(3, "currency"),
    "52": _fixed(32, "PIN block (ISO 9564 format 4), hex"),
    "53": _fixed(16, "generation of the working keys"),
    "61": _fixed(20, "reference (12) and terminal (8) of the original"),
    "62": _variable(3, 99, "what the bank knows of the original"),
    "64": _fixed(16, "MAC, hex"),
    "70": _fixed(3, "network management code"),
    "90": _fixed(42, "original data elements"),
    "128": _fixed(16, "MAC, hex"),
}
"""The specification in the form that ``pyiso8583`` takes. A field that is not here is not part of the dialect."""

_DIGITS = {"3": 6, "4": 12, "7": 10, "11": 6, "12": 6, "13": 4, "15": 4, "49": 3, "53": 16, "70": 3, "90": 42}

PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    **{number: re.compile(rf"[0-9]{{{length}}}") for number, length in _DIGITS.items()},
    "t": re.compile(r"[0-9]{4}"),
    "2": re.compile(r"[0-9]{12,19}"),
    "32": re.compile(r"[0-9]{1,11}"),
    "37": re.compile(r"[0-9A-Z]{12}"),
    "38": re.compile(r"[0-9A-Z]{6}"),
    "39": re.compile(r"[0-9A-Z]{2}"),
    "41": re.compile(r"[0-9A-Z]{8}"),
    "42": re.compile(r"[0-9A-Za-z_-]{1,15} {0,14}"),
    "48": re.compile(r"(?:[0-9A-F]{2}){1,127}"),
    "52": re.compile(r"[0-9A-F]{32}"),
    "61": re.compile(r"[0-9A-Z]{20}"),
    "62": re.compile(r"[0-9A-Z ]{1,99}"),
    "64": re.compile(r"[0-9A-F]{16}"),
    "128": re.compile(r"[0-9A-F]{16}"),
}
"""What each field may hold, matched as a whole; checked when a message is written and when it is read."""
