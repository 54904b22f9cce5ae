"""Who takes part in the demonstration: institutions, their terminals, patients with cards and bank accounts."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from settlement.bootstrap import Base
from settlement.cards.issuing import issue_virtual
from settlement.cards.numbers import id_check_character
from settlement.stubs.bankhost.client import BankHostAdmin
from settlement.stubs.bankhost.wire import AccountSpec
from terminal_sdk import Credentials, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader

HOSPITAL = "H31010100001"
PHARMACY = "P31010100002"
INSTITUTIONS = (
    (HOSPITAL, "申城示范医院", "hospital", 3),
    (PHARMACY, "便民示范药房", "pharmacy", 1),
)
TERMINALS = (("DEMOH001", HOSPITAL), ("DEMOH002", HOSPITAL), ("DEMOP001", PHARMACY), ("DEMOP002", PHARMACY))
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"
_GIVEN_NAMES = "伟芳娜敏静秀丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉建国文斌"


@dataclass(frozen=True, slots=True)
class Person:
    """A made-up person: a name, and an ID number with a right check character."""

    name: str
    id_number: str


@dataclass(frozen=True, slots=True)
class Patient:
    """A person with a virtual card in hand."""

    image: CardImage
    card: VirtualCard
    pin: str

    def present(self) -> CardSession:
        """Lay the card into a reader: a new card presence."""
        return CardSession(VirtualReader(self.card))


def make_up_person(chance: random.Random) -> Person:
    """A person by chance; no real one is meant."""
    born = dt.date(1935, 1, 1) + dt.timedelta(days=chance.randrange(27_000))
    first_17 = f"310101{born:%Y%m%d}{chance.randrange(1, 1000):03d}"
    name = chance.choice(_FAMILY_NAMES) + "".join(chance.sample(_GIVEN_NAMES, 2))
    return Person(name, first_17 + id_check_character(first_17))


async def open_terminals(base: Base, base_url: str, folder: Path) -> list[Terminal]:
    """Register, enrol where needed, and make the clients; ``folder`` keeps credentials and journals for later runs."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for institution in INSTITUTIONS:
        await base.terminals.add_institution(*institution)
    terminals = []
    for terminal_id, institution_id in TERMINALS:
        store = folder / f"{terminal_id}.json"
        if store.exists():
            credentials = Credentials.load(store)
        else:
            code = await base.terminals.register(terminal_id, institution_id)
            credentials = await Terminal.enrol(base_url, terminal_id, code.code, store)
        journal = folder / f"{terminal_id}.sqlite"
        terminals.append(Terminal(base_url, terminal_id, credentials.key, credentials.certificate, journal))
    return terminals


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank that issues cards, where its books can be set up, and whether it offers inquiry."""

    code: str
    admin: BankHostAdmin
    inquiry: bool


async def admit_patient(
    base: Base,
    person: Person,
    *,
    bank: Bank | None,
    balances: Mapping[str, int],
    bank_balance_fen: int = 0,
    activate: str = "financial",
) -> Patient:
    """Register a person, issue and activate a new card (the old one is void from then on), and fill the accounts.

    ``bank`` None: a legacy card. ``balances``: fen by insurance account, on top of what is there.
    """
    image = await issue_virtual(
        base.cards,
        base.authorities.card,
        base.keys,
        name=person.name,
        id_number=person.id_number,
        kind="legacy" if bank is None else "third_generation",
        bank_code=None if bank is None else bank.code,
        activate="financial" if bank is not None and activate == "financial" else "social",
    )
    for account, amount_fen in balances.items():
        if amount_fen:
            await base.cards.credit(
                image.card_number,
                "current_year" if account == "current_year" else "carried_over",
                amount_fen,
                base.ids.uuid(),
                "demonstration",
            )
    if bank is not None and image.pan is not None:
        account_spec = AccountSpec(bank=bank.code, pan=image.pan, balance_fen=bank_balance_fen, pin=image.pin)
        await bank.admin.put_accounts([account_spec])
    return Patient(image, VirtualCard(image), image.pin)
