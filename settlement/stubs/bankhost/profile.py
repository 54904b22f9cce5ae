"""How the stub plays one bank: its code, address and habits."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass

from settlement.banks.directory import Bank


class Duplicates(enum.StrEnum):
    """What a bank answers to a debit whose whole identity it has seen: the first answer again, or code 94."""

    STORED = "stored"
    CODE_94 = "94"


ANSWERS_94 = frozenset({"ABC", "CMB", "SPDB", "SWITCH"})
"""The banks that refuse a repeated debit with code 94 unless told otherwise; the others give the stored answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One bank as the stub plays it. ``cut_over``: end of its business day, local time."""

    code: str
    name_zh: str
    name_en: str
    port: int
    offers_inquiry: bool
    remembers_reversal: bool
    cut_over: dt.time
    zone_key: str
    duplicates: Duplicates


def profile_of(bank: Bank, *, port: int | None = None, duplicates: Duplicates | None = None) -> Profile:
    """The profile of a bank of the directory. ``port``: another port than the directory's; 0 takes a free one."""
    usual = Duplicates.CODE_94 if bank.code in ANSWERS_94 else Duplicates.STORED
    return Profile(
        code=bank.code,
        name_zh=bank.name_zh,
        name_en=bank.name_en,
        port=bank.port if port is None else port,
        offers_inquiry=bank.offers_inquiry,
        remembers_reversal=bank.remembers_reversal,
        cut_over=bank.cut_over,
        zone_key=bank.zone_key,
        duplicates=duplicates or usual,
    )
