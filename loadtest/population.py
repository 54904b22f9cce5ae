"""Who takes part in a load: institutions, enrolled terminals, and patients with cards, accounts and money."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import asyncpg

from loadtest.parallel import Advance, ignore, in_processes
from loadtest.prepared import CardKey
from loadtest.stand import Stand
from settlement.bootstrap import Base, open_base
from settlement.cards.issuing import made_up_card_number, made_up_pan
from settlement.cards.model import Account
from settlement.cards.numbers import id_check_character
from settlement.cards.registry import CardRegistry
from settlement.config import Settings
from settlement.stubs.bankhost.wire import AccountSpec
from terminal_sdk import Credentials, Terminal
from terminal_sdk.card.image import DEFAULT_PIN
from terminal_sdk.crypto import Sm2PrivateKey

_FAMILY_NAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"
_GIVEN_NAMES = "伟芳娜敏静秀丽强磊军洋勇艳杰娟涛明超兰霞"
_FIRST_BIRTHDAY = dt.date(1940, 1, 1)
_BORN_A_DAY = 999  # serial numbers of one day and place of birth
_A_DAY = dt.timedelta(days=1)
_VALID = dt.timedelta(days=365)
_CHUNK = 500
_SIDE_BY_SIDE = 8
_LIMIT_FEN = 10**12
_COUNT_LIMIT = 10**6
PIN = DEFAULT_PIN


@dataclass(frozen=True, slots=True)
class Institution:
    """A hospital or pharmacy. ``code``: the national one, 12 characters; ``kind``: hospital or pharmacy."""

    code: str
    name: str
    kind: str
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSpec:
    """A patient to be admitted. ``number`` makes the person: the same number is the same person. Amounts in fen.

    ``bank_code``: the bank of the card's bank account, whose balance is ``bank_fen``.
    """

    number: int
    bank_code: str
    bank_fen: int
    current_year_fen: int = 0
    carried_over_fen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """An admitted patient: a third-generation card with both functions active. ``pin`` is the bank account's."""

    spec: PatientSpec
    card: CardKey
    pin: str = field(default=PIN, repr=False)


async def enrol_terminals(
    stand: Stand, institution: Institution, terminal_ids: Sequence[str], *, advance: Advance = ignore
) -> list[Credentials]:
    """Register the institution and its terminals, and enrol those terminals over HTTP as a till does.

    Credentials are kept in the stand's folder; a later run with the same data uses them again.
    """
    await stand.base.terminals.add_institution(institution.code, institution.name, institution.kind, institution.level)
    folder = stand.folder / "terminals"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    turn = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def enrol(terminal_id: str) -> Credentials:
        async with turn:
            credentials = await _enrolled(stand, institution.code, terminal_id, folder / f"{terminal_id}.json")
            advance(1)
            return credentials

    return await asyncio.gather(*(enrol(each) for each in terminal_ids))


async def admit(
    stand: Stand, specs: Sequence[PatientSpec], *, processes: int | None = None, advance: Advance = ignore
) -> list[Patient]:
    """Register the persons, issue and activate their cards, and fill their accounts, here and at the banks.

    Everything goes through the card registry, as for any card: the certificate is signed and judged. A person known
    from an earlier run gets a new card, which voids the old one, and the money on top. The work is spread over
    ``processes`` (by default one a core); a core does some hundred a second.
    """
    work = functools.partial(_admit_here, stand.base.settings)
    patients = await in_processes(work, list(specs), chunk=_CHUNK, processes=processes, advance=advance)
    for bank_code, admin in stand.banks.items():
        accounts = [_account(patient) for patient in patients if patient.spec.bank_code == bank_code]
        if accounts:
            await admin.put_accounts(accounts)
    return patients


def person(number: int) -> tuple[str, str]:
    """Name and ID number of the made-up person of this number, each its own."""
    day, serial = divmod(number, _BORN_A_DAY)
    first_17 = f"310101{_FIRST_BIRTHDAY + dt.timedelta(days=day):%Y%m%d}{serial + 1:03d}"
    family, given = _FAMILY_NAMES[number % len(_FAMILY_NAMES)], _GIVEN_NAMES[number // 7 % len(_GIVEN_NAMES)]
    return f"{family}{given}{_GIVEN_NAMES[number % len(_GIVEN_NAMES)]}", first_17 + id_check_character(first_17)


async def _enrolled(stand: Stand, institution_id: str, terminal_id: str, store: Path) -> Credentials:
    if await asyncio.to_thread(store.exists):
        return await asyncio.to_thread(Credentials.load, store)
    code = await stand.base.terminals.register(terminal_id, institution_id)
    return await Terminal.enrol(stand.base_url, terminal_id, code.code, store)


def _admit_here(settings: Settings, specs: list[PatientSpec]) -> list[Patient]:
    """In a process or thread of its own, with an event loop of its own."""
    return asyncio.run(_admit_all(settings, specs))


async def _admit_all(settings: Settings, specs: list[PatientSpec]) -> list[Patient]:
    """One connection, one transaction: a commit and a cold connection for each step would take most of the time."""
    one_only = dataclasses.replace(settings, db_pool_min=1, db_pool_max=1)
    async with open_base(one_only) as base, base.pool.acquire() as connection, connection.transaction():
        roots = [base.authorities.card.certificate]
        # The registry asks its pool for nothing but queries here, and those a connection answers as well.
        cards = CardRegistry(cast("asyncpg.Pool", connection), base.personal, base.keys, base.clock, roots)
        return [await _admit_one(base, cards, spec) for spec in specs]


async def _admit_one(base: Base, cards: CardRegistry, spec: PatientSpec) -> Patient:
    """As ``issue_virtual`` does, but without the card's files, which nobody will read and which cost as much again."""
    name, id_number = person(spec.number)
    number, pan, key, today = made_up_card_number(), made_up_pan(), Sm2PrivateKey.generate(), cards.today()
    now = base.clock.now()
    certificate = base.authorities.card.issue(number, key.public_key, now - _A_DAY, now + _VALID)
    await cards.register_third_generation(
        await cards.register_person(name, id_number),
        card_number=number,
        certificate=certificate,
        issued_on=today,
        expires_on=today + _VALID,
        bank_code=spec.bank_code,
        pan=pan,
    )
    await cards.activate_financial(number)
    balances: tuple[tuple[Account, int], ...] = (
        ("current_year", spec.current_year_fen),
        ("carried_over", spec.carried_over_fen),
    )
    for account, amount_fen in balances:
        if amount_fen:
            await cards.credit(number, account, amount_fen, base.ids.uuid(), "load test")
    card = CardKey(card_number=number, fingerprint=certificate.fingerprint, private_key=key.to_bytes(), pan=pan)
    return Patient(spec=spec, card=card)


def _account(patient: Patient) -> AccountSpec:
    """An account whose own limits never stand in the way of a card that is used again and again."""
    assert patient.card.pan is not None  # noqa: S101 - every admitted card has a bank account
    return AccountSpec(
        bank=patient.spec.bank_code,
        pan=patient.card.pan,
        balance_fen=patient.spec.bank_fen,
        pin=patient.pin,
        transaction_limit_fen=_LIMIT_FEN,
        daily_limit_fen=_LIMIT_FEN,
        daily_count_limit=_COUNT_LIMIT,
    )
