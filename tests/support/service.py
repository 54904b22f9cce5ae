"""A whole running service for tests: bank host and service as processes of their own, over a fresh database."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from settlement.banks.directory import Directory, bank_file, default_directory
from settlement.bootstrap import Base, open_base, prepare_installation, zone_master_key
from settlement.cards.issuing import issue_virtual
from settlement.cli.demonstration.city import Person, make_up_person
from settlement.cli.service_process import ServiceProcess
from settlement.cli.verify import Proof, prove
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.security import KeyRing
from settlement.security.seal_key import own_seal_certificates
from settlement.stubs.bankhost.client import BankHostAdmin
from settlement.stubs.bankhost.frame_log import mask_pan
from settlement.stubs.bankhost.process import BankHostProcess
from settlement.stubs.bankhost.wire import AccountSpec, BookItem, LogRow
from terminal_sdk import Credentials, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader

HOSPITAL = "H31010100001"
PHARMACY = "P31010100002"
BANKS = ("ICBC", "ABC", "SRCB")
"""ICBC gives stored answers, ABC answers 94, SRCB offers no inquiry."""
BANK_TIMEOUT_MS = 1_500
LEASE_MS = 4_000
_numbers = itertools.count(1)


@dataclass(slots=True)
class RunningService:
    """The service under test, its partners, and an operator's hands on its registries."""

    base: Base
    process: ServiceProcess
    host: BankHostProcess
    bank: BankHostAdmin
    folder: Path
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    people: list[Person] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return self.process.base_url

    async def register_terminal(self, terminal_id: str, institution_id: str = PHARMACY) -> str:
        """A new terminal's enrolment code."""
        return (await self.base.terminals.register(terminal_id, institution_id)).code

    async def enrolled(self, institution_id: str = PHARMACY) -> Credentials:
        """The credentials of a new, enrolled terminal."""
        terminal_id = f"TEST{next(_numbers):04d}"
        code = await self.register_terminal(terminal_id, institution_id)
        return await Terminal.enrol(self.base_url, terminal_id, code, self.folder / f"{terminal_id}.json")

    @contextlib.asynccontextmanager
    async def terminal(self, institution_id: str = PHARMACY) -> AsyncIterator[Terminal]:
        """A new terminal, ready to settle."""
        credentials = await self.enrolled(institution_id)
        journal = self.folder / f"{credentials.terminal_id}.sqlite"
        async with Terminal(
            self.base_url, credentials.terminal_id, credentials.key, credentials.certificate, journal
        ) as terminal:
            yield terminal

    def person(self) -> Person:
        """Somebody new; remembered in ``people``."""
        person = make_up_person(self.chance)
        self.people.append(person)
        return person

    async def issue_card(
        self,
        *,
        current_year_fen: int = 0,
        carried_over_fen: int = 0,
        bank_fen: int = 0,
        bank: str | None = "ICBC",
        activate: str | None = "financial",
        person: Person | None = None,
    ) -> CardImage:
        """A registered card with money behind it; ``bank`` None: a legacy card."""
        person = person or self.person()
        if bank is None and activate == "financial":
            activate = "social"
        image = await issue_virtual(
            self.base.cards,
            self.base.authorities.card,
            self.base.keys,
            name=person.name,
            id_number=person.id_number,
            kind="legacy" if bank is None else "third_generation",
            bank_code=bank,
            activate=activate,  # type: ignore[arg-type]
        )
        if current_year_fen:
            await self.base.cards.credit(image.card_number, "current_year", current_year_fen, uuid.uuid4(), "test")
        if carried_over_fen:
            await self.base.cards.credit(image.card_number, "carried_over", carried_over_fen, uuid.uuid4(), "test")
        if bank is not None and image.pan is not None:
            await self.bank.put_accounts([AccountSpec(bank=bank, pan=image.pan, balance_fen=bank_fen, pin=image.pin)])
        return image

    async def balances(self, image: CardImage) -> tuple[int, int]:
        """Available fen on the current-year and the carried-over account."""
        context = await self.base.cards.load(image.card_number)
        return context.current_year_available_fen, context.carried_over_available_fen

    async def bank_books(self, image: CardImage) -> list[BookItem]:
        """What the bank's books hold of this card's account."""
        assert image.bank_code is not None
        assert image.pan is not None
        masked = mask_pan(image.pan)
        return [item async for item in self.bank.books(image.bank_code) if item.pan == masked]

    async def live_debits(self, image: CardImage) -> list[int]:
        """The amounts (fen) of the debits that stand at the bank."""
        return [
            item.amount_fen for item in await self.bank_books(image) if item.kind == "debit" and item.state == "live"
        ]

    async def bank_log(self, bank: str) -> list[LogRow]:
        """Every frame of a bank but network messages."""
        return [row async for row in self.bank.log(bank) if not row.mti.startswith("08")]

    async def until_final(self, timeout_s: float = 40.0) -> None:
        """Wait until no leg is open."""
        async with asyncio.timeout(timeout_s):
            while await self.base.pool.fetchval("select exists (select from leg where next_attempt_at is not null)"):
                await asyncio.sleep(0.05)

    async def prove(self) -> Proof:
        """Verify the ledger against the bank's books."""
        trusted = own_seal_certificates(self.base.settings.pki_dir)
        return await prove(self.base.pool, [self.host.admin_url], trusted)


def present(card: VirtualCard) -> CardSession:
    """A new presence of a card in a reader."""
    return CardSession(VirtualReader(card))


def test_directory(ports: dict[str, int], timeout_ms: int) -> Directory:
    """The banks of the bank host, with time-outs short enough for tests."""
    return _timed(default_directory().at(ports), timeout_ms)


test_directory.__test__ = False  # type: ignore[attr-defined]


def _timed(directory: Directory, timeout_ms: int) -> Directory:
    quick = {code: dataclasses.replace(bank, timeout_ms=timeout_ms) for code, bank in directory.banks.items()}
    return Directory(quick, directory.acquirer)


@contextlib.asynccontextmanager
async def running_service(
    dsn: str, folder: Path, *, workers: int = 1, bank_timeout_ms: int = BANK_TIMEOUT_MS, **more: str
) -> AsyncIterator[RunningService]:
    """Start everything; at the end stop everything and demand that the books agree.

    ``workers``: processes of the service · ``bank_timeout_ms``: how long it waits for a bank ·
    ``more``: further settings of the service by their variable.
    """
    settings = Settings(database_url=dsn, data_dir=folder / "data")
    prepare_installation(settings, SystemClock())
    keys = KeyRing.load(settings.master_key_path)
    host = BankHostProcess(folder / "banks", zone_master_key(keys), banks=BANKS)
    await host.start()
    process = None
    try:
        (folder / "banks.toml").write_text(bank_file(test_directory(host.ports, bank_timeout_ms)), encoding="utf-8")
        environment = {
            "SETTLEMENT_DATABASE_URL": dsn,
            "SETTLEMENT_DATA_DIR": str(settings.data_dir),
            "SETTLEMENT_BANK_DIRECTORY": str(folder / "banks.toml"),
            "SETTLEMENT_CLAIM_LEASE_MS": str(LEASE_MS),
            "SETTLEMENT_RECOVERY_INTERVAL_MS": "100",
            "SETTLEMENT_SEAL_INTERVAL_S": "2",
            **more,
        }
        process = ServiceProcess(
            environment, folder / "service.log", workers=workers, start_timeout_s=60.0 if workers == 1 else 120.0
        )
        await process.start()
        async with open_base(settings) as base, BankHostAdmin(host.admin_url) as bank:
            await base.terminals.add_institution(HOSPITAL, "测试医院", "hospital", 3)
            await base.terminals.add_institution(PHARMACY, "测试药房", "pharmacy", 1)
            service = RunningService(base, process, host, bank, folder)
            yield service
            await bank.clear_faults()
            await service.until_final(timeout_s=60)
            proof = await service.prove()
            assert list(proof.lines())[-1] == "0 violations", list(proof.lines())
    finally:
        if process is not None:
            await process.stop()
        await host.stop()
