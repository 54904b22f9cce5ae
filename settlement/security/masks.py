"""How names and numbers of people are shown: enough to recognise one's own, not enough to learn another's."""

from __future__ import annotations

import re

NUMBER_SHOWN = 4
"""How many characters of a number stay readable, at its end."""

_ID_NUMBER = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])\d{2}\d{3}[0-9Xx](?![0-9A-Za-z])")
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+(?=@)")
_ACCOUNT_NUMBER = re.compile(r"(?<![0-9A-Za-z.-])[1-9]\d{15,18}(?![0-9A-Za-z])")


def mask_name(name: str) -> str:
    """The family name and stars: 张三丰 → 张**; of a name in Latin letters the first letter of each word stays.

    A name of one character is masked whole.
    """
    return " ".join(_mask_word(word) for word in name.split())


def mask_number(number: str) -> str:
    """Stars and the last four characters; at most half of a short number stays readable."""
    shown = min(NUMBER_SHOWN, len(number) // 2)
    return "*" * (len(number) - shown) + number[len(number) - shown :]


def mask_text(text: str) -> str:
    """A text with everything masked that looks like an ID number (18 digits), an account number (16 to 19 digits) or a
    password in a URL.
    """
    masked = _ID_NUMBER.sub(lambda found: mask_number(found[0]), _URL_PASSWORD.sub(r"\1:***", text))
    return _ACCOUNT_NUMBER.sub(lambda found: mask_number(found[0]) if _is_account(found[0]) else found[0], masked)


def _mask_word(word: str) -> str:
    return "*" * len(word) if len(word) == 1 else word[0] + "*" * (len(word) - 1)


def _is_account(digits: str) -> bool:
    """UnionPay's numbers begin with 62; others are known by their check digit (Luhn), so that a time is not masked."""
    if digits.startswith("62"):
        return True
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004  # the cross sum of a doubled digit
    return total % 10 == 0
