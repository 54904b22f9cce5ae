"""Which banks there are, where they are reached and what each of them can do: plain data, read from TOML."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from terminal_sdk.crypto import diversify

SWITCH: Final = "SWITCH"
"""The code of the interbank switch, over which cards of any other bank go."""

ZONE_KEY_BYTES: Final = 16

_TEXT_MOST = 100
_CODE = re.compile(r"[A-Z][A-Z0-9]{1,9}")
_ACQUIRER = re.compile(r"[0-9]{1,11}")


class DirectoryError(Exception):
    """The directory of banks cannot be used. The message names the file, the line and the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """One bank. ``timeout_ms``: how long an answer may take · ``max_in_flight``: unanswered messages at a time ·
    ``cut_over``: end of the bank's business day, local time · ``zone_key``: name of its zone master key.

    ``offers_inquiry``: answers 0600 · ``remembers_reversal``: a 0400 before its 0200 leaves a tombstone, so that
    *not found* (25) is final there.
    """

    code: str
    name_zh: str
    name_en: str
    host: str
    port: int
    offers_inquiry: bool
    remembers_reversal: bool
    timeout_ms: int
    max_in_flight: int
    cut_over: dt.time
    zone_key: str


@dataclass(frozen=True, slots=True)
class Directory:
    """All banks by code. ``acquirer`` is field 32 of every message: who we are to the banks (up to 11 digits)."""

    banks: Mapping[str, Bank]
    acquirer: str

    def __iter__(self) -> Iterator[Bank]:
        """The banks, in the order of the file."""
        return iter(self.banks.values())

    def __contains__(self, code: object) -> bool:
        """Whether a bank of this code has a link."""
        return code in self.banks

    def __getitem__(self, code: str) -> Bank:
        """The bank of this code. Raises ``KeyError``."""
        return self.banks[code]

    def route(self, issuer: str) -> str:
        """Over which link a card of this issuer goes: its own, or the switch. Raises ``KeyError`` without a switch."""
        return issuer if issuer in self.banks else self.banks[SWITCH].code

    def at(self, ports: Mapping[str, int], host: str = "127.0.0.1") -> Directory:
        """The same directory, cut to the banks of ``ports`` and with these addresses."""
        moved = {code: replace(self.banks[code], host=host, port=port) for code, port in ports.items()}
        return Directory(moved, self.acquirer)

    def shared_by(self, processes: int) -> Directory:
        """The same directory for one of so many processes: what a bank bears at a time is shared out, at least one."""
        shares = {
            code: replace(bank, max_in_flight=max(1, bank.max_in_flight // processes))
            for code, bank in self.banks.items()
        }
        return Directory(shares, self.acquirer)


def default_directory() -> Directory:
    """The directory that comes with the package: eleven banks and the switch, at the bank host stub's ports."""
    text = resources.files("settlement.banks").joinpath("banks.toml").read_text("utf-8")
    return parse_directory(text, "banks.toml")


def load_directory(path: Path) -> Directory:
    """Read a directory file. Raises ``DirectoryError``."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DirectoryError(f"{path}: cannot be read: {error}") from None
    return parse_directory(text, str(path))


def parse_directory(text: str, source: str) -> Directory:
    """Check and read the text of a directory. Raises ``DirectoryError`` naming ``source``, line and key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DirectoryError(f"{source}: {error}") from None
    reader = _Reader(text, source)
    reader.refuse_unknown(document, {"acquirer", "bank"}, section=None)
    acquirer = document.get("acquirer")
    if not isinstance(acquirer, str) or not _ACQUIRER.fullmatch(acquirer):
        raise reader.error("acquirer", "must be a text of 1 to 11 digits")
    tables = document.get("bank")
    if not isinstance(tables, dict) or not tables:
        raise reader.error("bank", "at least one [bank.CODE] table is needed")
    banks = {code: reader.bank(code, table) for code, table in tables.items()}
    reader.refuse_shared_addresses(banks)
    return Directory(banks, acquirer)


def bank_file(directory: Directory) -> str:
    """The directory as the text of a file that ``load_directory`` reads."""
    sections = [f'acquirer = "{directory.acquirer}"\n']
    for bank in directory:
        lines = [f"[bank.{bank.code}]"]
        for name in _FIELDS:
            value = getattr(bank, name)
            written = (
                str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
            )
            lines.append(f"{name} = {written}")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def derive_zone_keys(master_key: bytes, directory: Directory) -> dict[str, bytes]:
    """A zone master key for each bank from one 16-byte master key: for demo and tests, where both ends are ours."""
    return {bank.zone_key: diversify(master_key, bank.zone_key.encode("ascii"), "bank-zone-key") for bank in directory}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= _TEXT_MOST and value.isprintable()


def _is_whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_FIELDS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "name_zh": (_is_text, "must be a text of 1 to 100 characters"),
    "name_en": (_is_text, "must be a text of 1 to 100 characters"),
    "host": (lambda value: _is_text(value) and " " not in str(value), "must be a host name or address"),
    "port": (_is_whole(1, 65_535), "must be a whole number from 1 to 65535"),
    "offers_inquiry": (lambda value: isinstance(value, bool), "must be true or false"),
    "remembers_reversal": (lambda value: isinstance(value, bool), "must be true or false"),
    "timeout_ms": (_is_whole(50, 120_000), "must be a whole number of ms from 50 to 120000"),
    "max_in_flight": (_is_whole(1, 10_000), "must be a whole number from 1 to 10000"),
    "cut_over": (
        lambda value: isinstance(value, dt.time) and value.tzinfo is None,
        "must be a local time such as 23:00:00, without quotes",
    ),
    "zone_key": (_is_text, "must be the name of a key"),
}
_OPTIONAL: Final = frozenset({"zone_key"})


class _Reader:
    """Checks one file and knows on which line a key stands."""

    def __init__(self, text: str, source: str) -> None:
        self._lines = text.splitlines()
        self._source = source

    def bank(self, code: str, table: Any) -> Bank:
        section = f"bank.{code}"
        if not _CODE.fullmatch(code):
            raise self.error(section, "a code has 2 to 10 capital letters and digits, a letter first")
        if not isinstance(table, dict):
            raise self.error(section, "must be a table")
        self.refuse_unknown(table, set(_FIELDS), section=section)
        for key, (valid, rule) in _FIELDS.items():
            if key not in table:
                if key in _OPTIONAL:
                    continue
                raise self.error(section, f"{key} is missing")
            if not valid(table[key]):
                raise self.error(f"{section}.{key}", rule)
        return Bank(code=code, **{"zone_key": code, **table})

    def refuse_unknown(self, table: Mapping[str, Any], known: set[str], *, section: str | None) -> None:
        for key in table:
            if key not in known:
                raise self.error(f"{section}.{key}" if section else key, "is not a known key")

    def refuse_shared_addresses(self, banks: Mapping[str, Bank]) -> None:
        seen: dict[tuple[str, int], str] = {}
        for code, bank in banks.items():
            other = seen.setdefault((bank.host, bank.port), code)
            if other != code:
                raise self.error(f"bank.{code}.port", f"has the address of bank.{other}")

    def error(self, path: str, rule: str) -> DirectoryError:
        line = self._line_of(path)
        place = f"{self._source}, line {line}" if line else self._source
        return DirectoryError(f"{place}: {path}: {rule}")

    def _line_of(self, path: str) -> int | None:
        """The line of a key, or of its table's header, counted from 1."""
        *section, key = path.split(".")
        header = f"[{'.'.join(section)}]" if len(section) > 1 else None
        inside = header is None
        header_line: int | None = None
        for number, line in enumerate(self._lines, start=1):
            bare = line.strip()
            if bare.startswith("["):
                if bare.split("#")[0].strip() == f"[{path}]":
                    return number
                inside = bare.split("#")[0].strip() == header
                header_line = number if inside else header_line
            elif inside and re.match(rf"{re.escape(key)}\s*=", bare):
                return number
        return header_line
