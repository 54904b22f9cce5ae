"""Banks over real TCP: hosts in this process (or as processes of their own) and the links that speak to them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from settlement.banks.directory import Bank, Directory, default_directory, derive_zone_keys
from settlement.banks.port import BankOrder, BankOutcome, MessageIdentity
from settlement.banks.router import BankLinks
from settlement.banks.tuning import LinkTuning
from settlement.banks.unmatched import LateAnswer
from settlement.clock import SystemClock
from settlement.ids import SystemIds
from settlement.stubs.bankhost.client import BankHostAdmin
from settlement.stubs.bankhost.process import BankHostProcess
from settlement.stubs.bankhost.profile import Duplicates, profile_of
from settlement.stubs.bankhost.service import BankHostService
from settlement.stubs.bankhost.wire import AccountSpec, BookItem, FaultSpec, LogRow, Match

PAN = "6222021234567890123"
START_FEN = 10_000_000
CLOCK = SystemClock()

FAST = LinkTuning(
    backoff_first_s=0.02,
    backoff_most_s=0.2,
    echo_timeout_s=2.0,
    circuit_cool_down_first_s=0.05,
    circuit_cool_down_most_s=0.2,
    key_change_pause_s=0.0,
)


async def until(condition: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """Poll until the condition holds; fails when the time is over."""
    deadline = CLOCK.monotonic() + seconds
    while True:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return held
        assert CLOCK.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.01)


class World:
    """Hosts, links and one account at each bank."""

    def __init__(self, admin: BankHostAdmin, directory: Directory, zone_master: bytes) -> None:
        self.admin = admin
        self.directory = directory
        self.zone_master = zone_master
        self.late: list[LateAnswer] = []
        self.service: BankHostService | None = None
        self.process: BankHostProcess | None = None
        self.links: BankLinks = None  # type: ignore[assignment]
        self._number = 0

    async def connect(self, tuning: LinkTuning = FAST, wait_s: float = 10.0, **bank_changes: object) -> None:
        """Bring up the links, with changes to the banks' entries."""
        banks = {bank.code: replace(bank, **bank_changes) for bank in self.directory}
        directory = Directory(banks, self.directory.acquirer)
        keys = derive_zone_keys(self.zone_master, directory)
        self.links = BankLinks(directory, keys, CLOCK, SystemIds(CLOCK), tuning=tuning, on_late=self.late.append)
        await self.links.start(wait_s)

    async def reconnect(self, tuning: LinkTuning = FAST, **bank_changes: object) -> None:
        """Other links, with another patience."""
        await self.links.stop()
        await self.connect(tuning, **bank_changes)

    async def open_accounts(self, **changes: object) -> None:
        spec = {"balance_fen": START_FEN, "pin": "123456", "daily_count_limit": 100_000, **changes}
        await self.admin.put_accounts(AccountSpec(bank=bank.code, pan=PAN, **spec) for bank in self.directory)

    def order(
        self, amount_fen: int = 1_000, *, bank: str = "BOSC", original: BankOrder | None = None, **changes: object
    ) -> BankOrder:
        """An order of an identity of its own."""
        self._number += 1
        identity = MessageIdentity(
            bank=bank,
            terminal_id="T0000001",
            transmitted=f"{CLOCK.now():%m%d%H%M%S}",
            trace=f"{self._number % 1_000_000:06d}",
            reference=f"{self._number:012d}",
        )
        named = original.identity if original else None
        order = BankOrder(
            identity=identity, amount_fen=amount_fen, pan=PAN, institution_id="H31010100001", original=named
        )
        return replace(order, **changes)

    @property
    def soon(self) -> float:
        """A ``send_before`` that is no limit."""
        return CLOCK.monotonic() + 60

    async def fault(self, action: str, **spec: Any) -> None:
        """Set a fault; ``mti``, ``reference`` and the like say which messages it meets."""
        names = ("mti", "processing_code", "network_code", "pan", "reference")
        match = Match(**{name: spec.pop(name) for name in names if name in spec})
        await self.admin.add_fault(FaultSpec(action=action, match=match, **spec))  # type: ignore[arg-type]

    async def books(self, bank: str = "BOSC", kind: str = "debit", state: str | None = None) -> list[BookItem]:
        """The operations of a kind, and in a state if one is given."""
        items = [item async for item in self.admin.books(bank)]
        return [item for item in items if item.kind == kind and state in {None, item.state}]

    async def log(self, bank: str = "BOSC", mti: str = "0200", direction: str = "received") -> list[LogRow]:
        """The frames of a type."""
        return [row async for row in self.admin.log(bank) if (row.mti, row.direction) == (mti, direction)]

    async def balance(self, bank: str = "BOSC") -> int:
        """What is left on the account."""
        return (await self.admin.account(bank, PAN)).balance_fen

    def state(self, bank: str = "BOSC"):
        """The link's state."""
        return self.links.states()[bank]


async def approved(world: World) -> bool:
    """Whether a debit goes through now; where time-outs are short, a busy machine may need more than one."""
    return (await world.links.debit(world.order(), world.soon)).outcome is BankOutcome.APPROVED


def cut(codes: Sequence[str]) -> Directory:
    """The built-in directory, cut to these banks."""
    directory = default_directory()
    return Directory({code: directory[code] for code in codes}, directory.acquirer)


MakeWorld = Callable[..., Awaitable[World]]


@contextlib.asynccontextmanager
async def worlds(folder: Path) -> AsyncIterator[MakeWorld]:
    """``await make(banks=…, duplicates=…, connected=True, **changes to the banks' entries)``."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            banks: Sequence[str] = ("BOSC",),
            *,
            duplicates: Duplicates | None = None,
            tuning: LinkTuning = FAST,
            connected: bool = True,
            **changes: Any,
        ) -> World:
            master = secrets.token_bytes(16)
            directory = cut(banks)
            known = {name: value for name, value in changes.items() if name in {"offers_inquiry", "remembers_reversal"}}
            profiles = [profile_of(replace(bank, **known), port=0, duplicates=duplicates) for bank in directory]
            service = BankHostService(profiles, derive_zone_keys(master, directory), folder / "books", seed=7)
            await service.start()
            stack.push_async_callback(service.stop)
            admin = await stack.enter_async_context(BankHostAdmin(service.admin_url))
            world = World(admin, directory.at(service.ports), master)
            world.service = service
            await world.open_accounts()
            if connected:
                await world.connect(tuning, **changes)
                stack.push_async_callback(lambda: world.links.stop(0.1))
            return world

        yield make


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """See ``worlds``."""
    async with worlds(tmp_path) as make:
        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """One bank (BOSC), its host in this process, its link up."""
    return await make_world()


@pytest.fixture
async def make_process_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """The same with the hosts in a process of their own."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(banks: Sequence[str] = ("BOSC",), **changes: Any) -> World:
            master = secrets.token_bytes(16)
            process = BankHostProcess(tmp_path / "host", master, banks=banks)
            await process.start()
            stack.push_async_callback(process.kill)
            admin = await stack.enter_async_context(BankHostAdmin(process.admin_url))
            world = World(admin, process.directory(), master)
            world.process = process
            await world.open_accounts()
            await world.connect(**changes)
            stack.push_async_callback(lambda: world.links.stop(0.1))
            return world

        yield make


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[Any]]:
    """``await wait_until(condition)``."""
    return until


@pytest.fixture
def bank_entry() -> Bank:
    """One entry of the built-in directory."""
    return default_directory()["BOSC"]
