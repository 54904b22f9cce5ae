"""The forms of names and numbers: brought to one spelling and checked before they are sealed or looked up."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata

from settlement.cards.errors import NumberInvalid

_ID_NUMBER = re.compile(r"[0-9]{17}[0-9X]")
_CARD_NUMBER = re.compile(r"[A-Z0-9]{9}")
_PAN = re.compile(r"[0-9]{13,19}")
_BANK_CODE = re.compile(r"[A-Z][A-Z0-9]{1,9}")
_NAME_MAX = 50
# GB 11643: the weight of each of the first 17 digits, and the check character of each remainder of 11.
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS = "10X98765432"


def name(text: str) -> str:
    """A person's name in NFC, without space around it and single spaces inside. Raises ``NumberInvalid``."""
    normal = " ".join(unicodedata.normalize("NFC", text).split())
    if not normal or len(normal) > _NAME_MAX or not normal.isprintable():
        raise NumberInvalid("name", f"must be 1 to {_NAME_MAX} printable characters")
    return normal


def id_number(text: str) -> str:
    """An ID number (the social security number): 18 characters, the last one checked by GB 11643.

    Full-width digits and a small x are accepted. Raises ``NumberInvalid``.
    """
    normal = _compact(text)
    if not _ID_NUMBER.fullmatch(normal):
        raise NumberInvalid("id_number", "must be 17 digits and a digit or X")
    if normal[17] != id_check_character(normal[:17]):
        raise NumberInvalid("id_number", "the last character does not fit the digits before it")
    return normal


def born_on(normal_id_number: str) -> dt.date:
    """The day of birth that an ID number names (its 7th to 14th digits). Raises ``NumberInvalid`` where it is none."""
    digits = normal_id_number[6:14]
    try:
        return dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise NumberInvalid("id_number", "does not name a day of birth") from error


def id_check_character(first_17: str) -> str:
    """The 18th character of an ID number (GB 11643, ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(first_17, _WEIGHTS, strict=True))
    return _CHECK_CHARACTERS[total % 11]


def card_number(text: str) -> str:
    """A social security card number: nine characters, A-Z and 0-9. Raises ``NumberInvalid``."""
    normal = _compact(text)
    if not _CARD_NUMBER.fullmatch(normal):
        raise NumberInvalid("card_number", "must be nine characters, A-Z and 0-9")
    return normal


def pan(text: str) -> str:
    """An account number of the bank application: 13 to 19 digits. Raises ``NumberInvalid``."""
    normal = _compact(text)
    if not _PAN.fullmatch(normal):
        raise NumberInvalid("pan", "must be 13 to 19 digits")
    return normal


def bank_code(text: str) -> str:
    """The code of a bank in the directory, by its form only. Raises ``NumberInvalid``."""
    if not _BANK_CODE.fullmatch(text):
        raise NumberInvalid("bank_code", "must be a bank's code, two to ten characters A-Z and 0-9")
    return text


def luhn_check_digit(digits: str) -> str:
    """The last digit of an account number (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - the sum of the two digits of 10 to 18
    return str(-total % 10)


def _compact(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).upper()
