"""Who takes part: persons with their cards, hospitals with their tills, and the banks; the same in every run."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

import asyncpg

from settlement.banks.directory import SWITCH, Directory, default_directory
from settlement.bootstrap import Base
from settlement.cards.issuing import issue_virtual
from settlement.cards.model import Coverage
from settlement.cards.numbers import id_check_character, luhn_check_digit
from settlement.security import KeyRing
from settlement.terminals import TerminalIdentity
from terminal_sdk.crypto import Sm2PrivateKey, sm3
from terminal_sdk.wire import CardRef

MASTER_KEY = bytes(range(32))
"""Nothing real is kept under it."""
KEYS = KeyRing(MASTER_KEY)

BANKS = ("BOSC", "SRCB", "ABC")
"""One that can do everything, one without inquiry, and one that forgets refusals and answers a repeat with 94."""
CARD_HOLDERS = ("BOSC", "SRCB", "ABC", "BOSC", "ABC", "SRCB", "ABC", "CQRC", None)
"""The bank of each person's card: CQRC is a guest's, over the switch; None: a card whose bank part is not active."""

COVERED = (True, False, True, True, False, False, True, False, True)
"""Whom the employees' plan covers (working, 47 years old); for the others the accounts pay first."""

INSTITUTIONS = (("H31010100001", "Hospital One", "hospital", 3), ("P31010100002", "Pharmacy Two", "pharmacy", 1))
TILLS_EACH = 3

FIRST_DAY = dt.date(2027, 12, 1)
"""The books of the simulated city begin here; cards are valid and partitions made from this day on."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its reader sees it, with the key that the chip keeps."""

    number: str
    person_id: int
    bank_code: str
    pan: str
    bank_active: bool
    covered: bool
    ref: CardRef
    key: Sm2PrivateKey = field(repr=False)


def directory(codes: Iterable[str] = (*BANKS, SWITCH)) -> Directory:
    """The banks that the cards need, and the switch for guests; or only some of them."""
    built_in = default_directory()
    return built_in.at({code: built_in[code].port for code in codes}, host="simulated")


def tills() -> list[TerminalIdentity]:
    """All tills as the API would know them after sign-in."""
    made = []
    for place, (institution, name, kind, level) in enumerate(INSTITUTIONS):
        for number in range(TILLS_EACH):
            seal = sm3(f"{institution}{number}".encode())
            made.append(
                TerminalIdentity(
                    terminal_id=f"T{place}00000{number}",
                    institution_id=institution,
                    institution_name=name,
                    institution_kind=kind,
                    institution_level=level,
                    session_id=_uuid(seal),
                    mac_key=seal,
                    pin_key=seal[:16],
                )
            )
    return made


async def register(base: Base) -> None:
    """Enter institutions, tills, persons and cards into a new database."""
    now = base.clock.now()
    for institution, name, kind, level in INSTITUTIONS:
        await base.pool.fetchval("select add_institution($1, $2, $3, $4, $5)", institution, name, kind, level, now)
    for number, (bank, covered) in enumerate(zip(CARD_HOLDERS, COVERED, strict=True)):
        card_number, pan = _numbers(number)
        await issue_virtual(
            base.cards,
            base.authorities.card,
            base.keys,
            name=f"Person {number}",
            id_number=_id_number(number),
            bank_code=bank or BANKS[0],
            pan=pan,
            card_number=card_number,
            key=_key(number),
            issued_on=FIRST_DAY,
            activate="social" if bank is None else "financial",
        )
        if covered:
            await base.cards.cover(card_number, Coverage(valid_from=FIRST_DAY, plan="employees", status="working"))


async def cards(connection: asyncpg.Connection[asyncpg.Record]) -> list[Card]:
    """The cards of a database that ``register`` has filled."""
    rows = await connection.fetch(
        "select card_id, person_id, bank_code, financial, certificate_fingerprint from card order by card_id"
    )
    found = []
    for number, row in enumerate(rows):
        card_number, pan = _numbers(number)
        found.append(
            Card(
                number=card_number,
                person_id=row["person_id"],
                bank_code=row["bank_code"],
                pan=pan,
                bank_active=row["financial"] == "active",
                covered=COVERED[number],
                ref=CardRef(card_number=card_number, certificate_fingerprint=row["certificate_fingerprint"]),
                key=_key(number),
            )
        )
    return found


def _numbers(number: int) -> tuple[str, str]:
    digits = f"62{number:016d}"
    return f"SIM{number:06d}", digits + luhn_check_digit(digits)


def _id_number(number: int) -> str:
    first = f"31010119800101{number:03d}"
    return first + id_check_character(first)


def _key(number: int) -> Sm2PrivateKey:
    return Sm2PrivateKey.from_bytes(sm3(f"card {number}".encode()))


def _uuid(seal: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=seal[:16], version=4)
