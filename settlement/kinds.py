"""The kinds of values a setting may have: how each is read from text or TOML, and how it is described to people."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of value: what is ``expected``, in words, and how to ``parse`` it.

    ``parse`` takes text (from the environment) or a native value (from TOML or code), gives the value, and raises
    ``ValueError`` or ``TypeError`` for anything else.
    """

    expected: str
    parse: Callable[[object], T]
    secret: bool = False


def integer(low: int, high: int) -> Kind[int]:
    """A whole number within bounds, both included."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError
        if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            raise ValueError
        number = int(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return Kind(f"a whole number from {low} to {high}", parse)


def _parse_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off"}:
            return False
    raise ValueError


FLAG: Kind[bool] = Kind("true or false", _parse_flag)


def _parse_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


TEXT: Kind[str] = Kind("a text that is not empty", _parse_text)


def choice(*words: str) -> Kind[str]:
    """One of the given words, in any case; kept in the spelling given here."""
    by_folded = {word.casefold(): word for word in words}

    def parse(value: object) -> str:
        word = by_folded.get(_parse_text(value).casefold())
        if word is None:
            raise ValueError
        return word

    return Kind("one of " + ", ".join(words), parse)


def _parse_path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError
    return Path(value).expanduser().absolute()


PATH: Kind[Path] = Kind("a path", _parse_path)


def _parse_local_time(value: object) -> dt.time:
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            raise ValueError
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\s*[0-9]{2}:[0-9]{2}(:[0-9]{2})?\s*", value):
        raise ValueError
    return dt.time.fromisoformat(value.strip())


LOCAL_TIME: Kind[dt.time] = Kind("a time of day as HH:MM or HH:MM:SS", _parse_local_time)


def _parse_postgres_url(value: object) -> str:
    url = _parse_text(value)
    if urlsplit(url).scheme not in {"postgresql", "postgres"}:
        raise ValueError
    return url


POSTGRES_URL: Kind[str] = Kind(
    "an address such as postgresql://user:password@host:5432/database", _parse_postgres_url, secret=True
)


def _parse_key_hex(value: object) -> str:
    key = _parse_text(value)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", key):
        raise ValueError
    return key.lower()


KEY_HEX: Kind[str] = Kind("32 bytes in hex (64 digits)", _parse_key_hex, secret=True)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind, or nothing."""

    def parse(value: object) -> T | None:
        return None if value is None else kind.parse(value)

    return Kind(kind.expected, parse, kind.secret)
