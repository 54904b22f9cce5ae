"""The programs of the simulated city: service processes and bank hosts, real code on simulated machines."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, cast

from settlement.banks.codes import Verb
from settlement.banks.directory import derive_zone_keys
from settlement.banks.router import BankLinks
from settlement.banks.unmatched import LateAnswer
from settlement.bootstrap import build_engine, zone_master_key
from settlement.engine.service import SettlementEngine
from settlement.ledger.ledger import Ledger
from settlement.simulation import population
from settlement.simulation.cluster import make_base, simulation_settings
from settlement.simulation.database import SimulatedPool
from settlement.simulation.loop import Process
from settlement.simulation.sources import SeededIds, SimulatedClock, seeded
from settlement.simulation.trace import FAULT, Trace
from settlement.stubs.bankhost.bank import StubBank
from settlement.stubs.bankhost.books import Books
from settlement.stubs.bankhost.faults import FaultPanel
from settlement.stubs.bankhost.profile import profile_of
from settlement.stubs.bankhost.store import Store
from settlement.stubs.bankhost.wire import AccountSpec, FaultSpec

if TYPE_CHECKING:
    from settlement.simulation.world import World

R = TypeVar("R")

_WORK_S = (0.000_2, 0.004)
_DRAIN_S = 20.0
_STOP_S = 60.0


class Worker:
    """One service process: engine, ledger and bank links, wired as ``bootstrap`` wires them."""

    def __init__(self, world: World, number: int, life: int, clock: SimulatedClock) -> None:
        self.process = Process(world.loop, f"worker{number}")
        self.clock = clock
        ids = SeededIds(clock, seeded(world.seed, f"ids of worker {number}.{life}"))
        pool = SimulatedPool(
            self.process.name,
            loop=world.loop,
            database=world.database,
            trace=world.trace,
            weather=world.weather,
            random=seeded(world.seed, f"database of worker {number}.{life}"),
        )
        base = make_base(simulation_settings("postgresql://simulated"), cast("Any", pool), clock, ids)
        directory = world.directory
        zone_keys = derive_zone_keys(zone_master_key(base.keys), directory)
        self._links: BankLinks
        self._wire = (base, directory, zone_keys, ids)
        self.engine: SettlementEngine | None = None
        self.up = False
        self.process.on_death.append(lambda: world.network.forget(self.process))
        self.starting = self.process.spawn(self._start(), f"start of worker {number}")

    async def _start(self) -> None:
        base, directory, zone_keys, ids = self._wire

        def heard(late: LateAnswer) -> None:
            if late.verb is Verb.DEBIT:
                engine.hear(late.identity, late.answer)

        self._links = BankLinks(directory, zone_keys, self.clock, ids, on_late=heard)
        ledger = Ledger(base.pool, batch_max=base.settings.batch_max)
        engine = build_engine(base, ledger, directory, self._links)
        self.engine = engine
        await self._links.start()
        await engine.start()
        self.up = True

    async def stop(self) -> None:
        """Take leave in order: drain, sign off, end; a process that dies meanwhile is not waited for."""
        if self.up and self.process.alive:
            self.up = False
            await asyncio.wait({self.process.spawn(self._drain(), "stop")}, timeout=_STOP_S)
            self.process.on_death.clear()
        else:
            # One that is still starting has nothing to drain, and must not go on by itself; its connections break.
            del self.process.on_death[1:]
        self.process.kill()

    async def _drain(self) -> None:
        assert self.engine is not None  # noqa: S101 - it was up
        await self.engine.drain(_DRAIN_S)
        await self._links.stop()


class BankHost:
    """One bank: its books outlive the process that answers for them."""

    def __init__(self, world: World, code: str, clock: SimulatedClock) -> None:
        self.code = code
        self.clock = clock
        self._world = world
        self._lives = 0
        bank = world.directory[code]
        self.profile = profile_of(bank)
        self._zone_key = derive_zone_keys(zone_master_key(population.KEYS), world.directory)[bank.zone_key]
        self._random = seeded(world.seed, f"bank {code}")
        self._ids = SeededIds(clock, self._random)
        self.store = Store(Path(":memory:"))
        self.books = Books(self.store, self.profile, self._zone_key, clock, self._ids)
        self.faults = _ToldPanel(self._random.randrange(1 << 30), world.trace)
        self.process: Process

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.profile.port

    def start(self) -> asyncio.Task[None]:
        """Bring the host up, with an empty fault panel and the books as they are."""
        self._lives += 1
        process = self.process = Process(self._world.loop, self.code)
        process.on_death.append(lambda: self._world.network.forget(process))
        stub = StubBank(
            self.profile,
            zone_key=self._zone_key,
            data_dir=Path(),
            faults=self.faults,
            clock=self.clock,
            ids=self._ids,
            make_worker=lambda *_: _Clerk(self.books, self._random),
        )
        return process.spawn(stub.start("simulated"), f"start of {self.code}")

    def open_account(self, pan: str, balance_fen: int, **particulars: Any) -> None:
        """Open an account, before anything begins."""
        self._in_transaction(
            lambda books: books.put_account(
                AccountSpec(bank=self.code, pan=pan, balance_fen=balance_fen, **particulars), only_new=False
            )
        )

    def cut_over(self) -> None:
        """End the bank's business day now, by hand."""
        self._in_transaction(lambda books: books.cut_over())

    def _in_transaction(self, work: Callable[[Books], R]) -> R:
        return _in_transaction(self.books, work)


class _ToldPanel(FaultPanel):
    """The stub's own fault panel; what it plays stands in the trace."""

    def __init__(self, seed: int, trace: Trace) -> None:
        super().__init__(seed)
        self._trace = trace

    def take(self, bank: str, fields: Mapping[str, str]) -> FaultSpec | None:
        """The fault to play on this message."""
        spec = super().take(bank, fields)
        if spec is not None:
            told = " ".join(str(part) for part in (spec.action, spec.when, spec.code, spec.delay_ms) if part)
            self._trace.note(bank, FAULT, f"{told} on {fields['t']} {fields.get('37', '')}")
        return spec


class _Clerk:
    """In place of the bank host's thread: jobs one after another on the event loop, each durable before its answer.

    A crash finds a job either not begun, or done and its answer not yet given.
    """

    def __init__(self, books: Books, random: Random) -> None:
        self._books = books
        self._random = random

    async def start(self) -> None:
        """The books are open."""

    async def run(self, work: Callable[[Books], R]) -> R:
        """Run a job."""
        await asyncio.sleep(self._random.uniform(*_WORK_S))
        result = _in_transaction(self._books, work)
        await asyncio.sleep(self._random.uniform(*_WORK_S))
        return result

    async def stop(self) -> None:
        """The books stay open for the next process."""


def _in_transaction(books: Books, work: Callable[[Books], R]) -> R:
    connection: sqlite3.Connection = books.store.connection
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(books)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return result
