"""One run: a city is built, its tills play their bills while things go wrong, then all calms down and is looked at."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from settlement.banks.directory import Directory
from settlement.clock import epoch_ms
from settlement.ids import uuid7
from settlement.simulation import faults, population
from settlement.simulation.database import DatabaseWeather, RealDatabase
from settlement.simulation.desk import Answer, Desk, Order, Refused
from settlement.simulation.loop import OUTSIDE, SimulatedLoop
from settlement.simulation.network import Network
from settlement.simulation.parties import BankHost, Worker
from settlement.simulation.population import Card
from settlement.simulation.sources import SimulatedClock, seeded
from settlement.simulation.till import PLANS, Till
from settlement.simulation.trace import FAULT, Trace
from settlement.stubs.bankhost.wire import AccountState
from terminal_sdk.wire import FeeLine, Refund, Reversal, Settlement

BEGINNINGS = (
    dt.datetime(2027, 12, 15, 4, 0, tzinfo=dt.UTC),
    dt.datetime(2027, 12, 15, 14, 29, tzinfo=dt.UTC),
    dt.datetime(2027, 12, 15, 14, 59, tzinfo=dt.UTC),
    dt.datetime(2027, 12, 31, 15, 59, tzinfo=dt.UTC),
)
"""Noon in Shanghai, a minute before banks end their day (22:30, 23:00), and a minute before the year ends."""

WORKERS = 2
DOUBT_S = 60.0
"""How long after its deadline (and after the last fault) a bill may at most be in doubt."""
FINAL_S = 120.0
"""How long, after the faults or after two days, the undoing of the last leg may take."""
_SETTLE_DOWN_S = 50.0
_TWO_DAYS_S = 2 * 86_400.0 + 600.0
_RESTART_S = (0.2, 8.0)
_GAP_S = 1.0
_AMOUNTS_FEN = (1, 120, 990, 4_500, 12_000, 36_050, 70_000)


@dataclass(frozen=True, slots=True)
class Purse:
    """What a person begins with, in fen: on the insurance accounts and at the bank."""

    current_year_fen: int
    carried_over_fen: int
    bank_fen: int
    bank_state: AccountState = "active"


def drawn_purse(random: Random, _: Card) -> Purse:
    """By chance: some have nothing, some much."""
    return Purse(
        current_year_fen=random.choice((0, 5_000, 60_000, 300_000)),
        carried_over_fen=random.choice((0, 5_000, 60_000, 300_000)),
        bank_fen=random.choice((0, 40_000, 500_000, 5_000_000)),
        bank_state=random.choices(("active", "frozen"), (9, 1))[0],
    )


class World:
    """The simulated city of one seed.

    ``begin``: the moment at which virtual time is zero (drawn, unless given) · ``directory``: the banks there are ·
    ``restart_s``: how long after a crash a worker comes back (drawn, unless given).
    """

    def __init__(
        self,
        seed: int,
        database: RealDatabase,
        cards: list[Card],
        *,
        workers: int = WORKERS,
        begin: dt.datetime | None = None,
        directory: Directory | None = None,
        restart_s: float | None = None,
    ) -> None:
        self.seed = seed
        self.database = database
        self.cards = cards
        self.loop = SimulatedLoop()
        self.trace = Trace(self.loop.time)
        self.network = Network(self.loop, self.trace, seeded(seed, "network"))
        self.weather = DatabaseWeather()
        self.begin = begin or seeded(seed, "beginning").choice(BEGINNINGS)
        self.directory = directory or population.directory()
        self.till_clock = SimulatedClock(self.loop, self.begin)
        self.service_date = self.begin.date() - dt.timedelta(days=1)
        self.desk = Desk(self)
        self.counts: Counter[str] = Counter()
        self.closed_early: set[str] = set()
        self.orders: list[Order] = []
        self.credited_fen: dict[tuple[int, str], int] = {}
        self.bank_fen: dict[tuple[str, str], int] = {}
        self.banks: list[BankHost] = []
        self.workers: list[Worker] = []
        self.calm = False
        self.calm_at = 0.0
        self._worker_count = workers
        self._restart_s = restart_s
        self._lives: Counter[int] = Counter()
        self._counters: Counter[str] = Counter()
        self.tills = population.tills()

    # building

    async def build(self, purse: Callable[[Random, Card], Purse] = drawn_purse) -> None:
        """Money on the accounts, banks and workers up."""
        random = seeded(self.seed, "money")
        self.banks = [BankHost(self, bank.code, SimulatedClock(self.loop, self.begin)) for bank in self.directory]
        for card in self.cards:
            money = purse(random, card)
            self._credit(card, "current_year", money.current_year_fen, random)
            self._credit(card, "carried_over", money.carried_over_fen, random)
            host = self.bank_of(card)
            host.open_account(card.pan, money.bank_fen, state=money.bank_state)
            self.bank_fen[host.code, card.pan] = money.bank_fen
        await asyncio.gather(*(bank.start() for bank in self.banks))
        self.workers = [self._worker(number) for number in range(1, self._worker_count + 1)]
        await asyncio.gather(*(worker.starting for worker in self.workers))

    def bank_of(self, card: Card) -> BankHost:
        """The host that answers for a card: its bank's, or the switch."""
        code = self.directory.route(card.bank_code)
        return next(bank for bank in self.banks if bank.code == code)

    def _credit(self, card: Card, account: str, amount_fen: int, random: Random) -> None:
        self.credited_fen[card.person_id, account] = amount_fen
        if amount_fen:
            credit_id = uuid7(epoch_ms(self.begin), random.randbytes(10))
            self.database.run(
                "fetchval",
                "select credit_person($1, $2, $3, $4, 'simulation', $5, $6)",
                (card.person_id, credit_id, account, amount_fen, population.FIRST_DAY, self.begin),
            )

    def _worker(self, number: int) -> Worker:
        self._lives[number] += 1
        worker = Worker(self, number, self._lives[number], SimulatedClock(self.loop, self.begin))
        worker.process.on_death.append(lambda: self._worker_died(worker, number))
        return worker

    def _worker_died(self, worker: Worker, number: int) -> None:
        worker.up = False
        self.counts["crashes"] += 1
        self.trace.note(worker.process.name, FAULT, f"dies at step {worker.process.steps}")
        drawn = seeded(self.seed, f"restart {number}.{self._lives[number]}").uniform(*_RESTART_S)
        delay = drawn if self._restart_s is None else self._restart_s
        self.loop.call_later(delay, self._restart_worker, worker, number, context=OUTSIDE)

    def _restart_worker(self, dead: Worker, number: int) -> None:
        if dead in self.workers:  # else the city has closed meanwhile
            self.workers[self.workers.index(dead)] = self._worker(number)

    def restart_bank(self, bank: BankHost) -> None:
        """Bring a bank host back."""
        if not bank.process.alive:
            bank.start()

    # what tills need

    def next_counter(self, card: Card) -> int:
        """The card's next transaction counter."""
        self._counters[card.number] += 1
        return self._counters[card.number]

    def order(self, random: Random, plan: str | None = None, card: Card | None = None) -> Order:
        """A bill drawn by chance; of this card's holder, if one is given."""
        number = len(self.orders)
        lines = [
            FeeLine(
                line_no=place,
                item_code=f"X{place}",
                item_name="item",
                category=random.choice(("A", "A", "B", "C")),
                amount_fen=random.choice(_AMOUNTS_FEN),
            )
            for place in range(1, random.choice((1, 1, 2, 3)) + 1)
        ]
        order = Order(
            number=number,
            till=random.choice(self.tills),
            card=card or random.choice(self.cards),
            key=f"S{self.seed}-{number:04d}",
            visit_no=f"V{number}",
            lines=lines,
            remainder=random.choices(("bank", "cash"), (9, 1))[0],
            on_bank_decline=random.choice(("release", "cash")),
            deadline_s=random.choice((5.0, 15.0, 40.0)),
            plan=plan or random.choices(list(PLANS), list(PLANS.values()))[0],
        )
        self.orders.append(order)
        return order

    def beside(self, order: Order) -> Order:
        """A bill of its own for the same person."""
        return self.order(seeded(self.seed, f"beside order {order.number}"), "plain", order.card)

    def twin_of(self, order: Order) -> Order:
        """The same lines at the same till, under a key of their own."""
        twin = Order(
            number=len(self.orders),
            till=order.till,
            card=order.card,
            key=f"S{self.seed}-{len(self.orders):04d}",
            visit_no=order.visit_no,
            lines=order.lines,
            remainder=order.remainder,
            on_bank_decline=order.on_bank_decline,
            deadline_s=order.deadline_s,
            plan="plain",
        )
        self.orders.append(twin)
        return twin

    # playing

    @property
    def faults_played(self) -> int:
        """How many faults really took place."""
        direct = sum(number for name, number in self.counts.items() if name.startswith("fault "))
        by_banks = sum(fault.played for bank in self.banks for fault in bank.faults.entries())
        return direct + by_banks + sum(self.weather.played.values())

    @property
    def settlements(self) -> int:
        """Of how many bills a till was told that they are known to the service."""
        return sum(1 for order in self.orders if order.views())

    async def storm(self, settlements: int, fault_count: int) -> None:
        """Bills and faults, until at least so many of each took place."""
        random = seeded(self.seed, "orders")
        mischief = seeded(self.seed, "faults")
        playing: list[asyncio.Task[None]] = []
        for _ in range(20):
            striking = asyncio.create_task(
                self._strike(mischief, fault_count - self.faults_played, settlements * _GAP_S)
            )
            for _ in range(max(5, settlements - self.settlements)):
                await asyncio.sleep(random.uniform(0.0, 2 * _GAP_S))
                order = self.order(random)
                till = Till(self, order, seeded(self.seed, f"till of order {order.number}"))
                playing.append(asyncio.create_task(till.play()))
            await striking
            await asyncio.gather(*playing)
            if self.settlements >= settlements and self.faults_played >= fault_count:
                return

    async def _strike(self, random: Random, number: int, seconds: float) -> None:
        """Some more faults than asked for, since not all that are set up meet a message."""
        number = max(5, number * 3 // 2)
        for _ in range(number):
            await asyncio.sleep(random.uniform(0.0, 2 * seconds / number))
            faults.strike(self, random)

    async def settle_down(self, seconds: float = _SETTLE_DOWN_S) -> None:
        """No more faults: all reachable, all up, clocks right; what was late has arrived."""
        self.calm = self.desk.calm = True
        self.weather.armed.clear()
        self.weather.away_until = 0.0
        self.network.unreachable.clear()
        for bank in self.banks:
            for fault in bank.faults.entries():
                self.counts[f"bank {fault.spec.action}"] += fault.played
            self.counts["faults of banks"] += sum(fault.played for fault in bank.faults.entries())
            bank.faults.clear()
            self.restart_bank(bank)
        for worker in self.workers:
            worker.process.kill_at = None
            worker.clock.offset_s = 0.0
        self.trace.note("", FAULT, "calm")
        await asyncio.sleep(seconds)
        self.calm_at = self.loop.time()

    async def last_words(self, final_s: float = FINAL_S) -> None:
        """Ask for every bill until none is in doubt, then until all is final: for ``final_s``, and after two days."""
        await asyncio.gather(*(self._until_clear(order) for order in self.orders))
        open_orders = await self._until_final(self.orders, final_s)
        if open_orders:
            await self.close()
            await asyncio.sleep(_TWO_DAYS_S)
            self.workers = [self._worker(number) for number in range(1, self._worker_count + 1)]
            await asyncio.gather(*(worker.starting for worker in self.workers))
            self.counts["waited two days"] += 1
            await self._until_final(open_orders, FINAL_S)

    async def close(self) -> None:
        """The workers take leave in order."""
        leaving, self.workers = self.workers, []
        await asyncio.gather(*(worker.stop() for worker in leaving))

    async def _until_clear(self, order: Order) -> None:
        until = max(self.loop.time(), order.first_sent_at + order.deadline_s) + DOUBT_S
        while self.loop.time() < until:
            await self._ask(order)
            if not isinstance(order.last_word, Settlement) or order.last_word.state != "pending":
                order.clear_at = self.loop.time()
                return
            await asyncio.sleep(1.0)

    async def _until_final(self, orders: list[Order], seconds: float) -> list[Order]:
        until = self.loop.time() + seconds
        while orders and self.loop.time() < until:
            for order in orders:
                await self._ask(order)
                await self._ask_undos(order)
            orders = [order for order in orders if not is_final(order)]
            if orders:
                await asyncio.sleep(5.0)
        return orders

    async def _ask(self, order: Order) -> None:
        answer: Answer = None
        while answer is None or (isinstance(answer, Refused) and answer.code in {"NOT_READY", "UNREACHABLE"}):
            answer = await self.desk.ask(
                order, "status_by_key", order.key, lambda engine: engine.status_by_key(order.till, order.key)
            )
        order.last_word = answer

    async def _ask_undos(self, order: Order) -> None:
        view = order.last_word
        named = view.refund_ids if isinstance(view, Settlement) else []
        for refund_id in sorted({*order.refunds, *named}):
            answer = await self._ask_undo(order, "refund_status", refund_id)
            if isinstance(answer, Refund):
                order.refunds[refund_id] = answer
        for reversal_id, told in sorted(order.reversals.items()):
            if told.settlement_id is not None:
                answer = await self._ask_undo(order, "reversal_status", reversal_id)
                if isinstance(answer, Reversal):
                    order.reversals[reversal_id] = answer

    async def _ask_undo(self, order: Order, operation: str, undo_id: str) -> Answer:
        return await self.desk.ask(
            order, operation, undo_id, lambda engine: getattr(engine, operation)(order.till, uuid.UUID(undo_id))
        )


def is_final(order: Order) -> bool:
    """Whether nothing of this bill is open, so far as its till was told."""
    word = order.last_word
    if isinstance(word, Settlement) and not word.final:
        return False
    return all(undo.final for undo in order.undos())
