"""What both strain benches stand on: the service with its partners, patients of known banks, and volleys of bills."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from bench import cpu
from bench.bills import BANK_ACCOUNT_FEN, CURRENT_YEAR_FEN
from bench.cells import BenchError
from bench.cpu import Sample
from bench.load.jobs import SETTLED, Closed, Payment, Plan, Planned, Record, ShotsJob
from bench.options import Options
from bench.server import Ground, look_at
from bench.spread import percentile
from bench.world import BANKS, City, Say, World, new_mark, open_world
from loadtest.population import PIN, PatientSpec, admit
from loadtest.prepared import CardKey

REFUSED = frozenset({"OVERLOADED", "TERMINAL_FLOODING", "NOT_READY"})
"""Outcomes after which nothing was begun: the card is as good as new."""
OPEN = frozenset({"pending", "reversing", "no_answer", "connection_lost", "TIMED_OUT", "OUTCOME_UNKNOWN", "INTERNAL"})
"""Outcomes after which the bill may be settled later."""
CLOSED_CLIENTS = (16, 48)
TILLS = 48
_SPARE_CONNECTIONS = 64
WARMING = 400
_WARMING_S = 1.0


@dataclass(frozen=True, slots=True)
class Patron:
    """A card that nobody has seen, and its bank."""

    card: CardKey
    bank: str


@dataclass(frozen=True, slots=True)
class Volley:
    """What became of one run of the load: whose bills, when planned (seconds from the start), and how they ended."""

    patrons: Sequence[Patron]
    planned_s: Sequence[float]
    record: Record
    samples: Sequence[Sample]

    def settled(self, first_s: float = 0.0, last_s: float = float("inf")) -> list[float]:
        """Latencies (ms) of the settled bills that were planned in this span."""
        return [
            latency
            for planned, latency, outcome in zip(
                self.planned_s, self.record.latencies_ms, self.record.outcomes, strict=True
            )
            if outcome == SETTLED and first_s <= planned < last_s
        ]

    def outcomes(self, first_s: float = 0.0, last_s: float = float("inf")) -> Counter[str]:
        """How many of each, of those planned in this span."""
        pairs = zip(self.planned_s, self.record.outcomes, strict=True)
        return Counter(outcome for planned, outcome in pairs if first_s <= planned < last_s)

    @property
    def late_p99_ms(self) -> float:
        """How far behind the plan the generator sent."""
        return percentile(self.record.late_ms, 0.99)


@dataclass(slots=True)
class Stage:
    """The service under strain. ``told``: what the tills were told, over all volleys."""

    world: World
    city: City
    payment: Payment
    fresh: list[Patron] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    _admitted: int = 0

    async def stock(self, count: int) -> None:
        """Have so many cards that nobody has seen. Statistics gathered anew make every connection plan anew, so what
        follows is not measured before all of them have.
        """
        if count <= len(self.fresh):
            return
        await self._admit(count + WARMING - len(self.fresh))
        await self.warm_up()

    async def warm_up(self) -> None:
        """Bills that are not measured, with ``WARMING`` cards at most: all connections are open, and have planned."""
        await self.shoot(Closed(clients=CLOSED_CLIENTS[-1], seconds=_WARMING_S), WARMING)

    async def _admit(self, missing: int) -> None:
        self.world.say(f"admitting {missing} patients")
        specs = [
            PatientSpec(
                number=number,
                bank_code=BANKS[number % len(BANKS)],
                bank_fen=BANK_ACCOUNT_FEN,
                current_year_fen=CURRENT_YEAR_FEN[self.payment],
            )
            for number in range(self._admitted, self._admitted + missing)
        ]
        self._admitted += missing
        patients = await admit(self.city.stand, specs)
        self.fresh += [Patron(each.card, spec.bank_code) for each, spec in zip(patients, specs, strict=True)]
        await self.city.stand.base.pool.execute("vacuum analyze")

    async def shoot(self, plan: Plan, count: int, marks_s: Sequence[float] = ()) -> Volley:
        """Send bills, of ``count`` cards at most; the cards of those refused can be used again."""
        await self.stock(count)
        patrons, self.fresh = self.fresh[:count], self.fresh[count:]
        job = ShotsJob(
            base_url=self.city.stand.base_url,
            stores=self.city.stores,
            cards=[each.card for each in patrons],
            payment=self.payment,
            mark=new_mark(),
            pin=PIN,
            connections=_SPARE_CONNECTIONS,
        )
        shooting = await self.world.shoot(job, plan, marks_s)
        record = shooting.record
        self.told.update(record.outcomes)
        used = zip(patrons, record.outcomes, strict=False)
        self.fresh += [*patrons[len(record.outcomes) :], *(each for each, outcome in used if outcome in REFUSED)]
        planned_s = plan.offsets_s if isinstance(plan, Planned) else record.ended_s
        return Volley(patrons[: len(record.outcomes)], planned_s, record, shooting.samples)

    async def capacity(self, seconds: float) -> float:
        """The peak: most bills settled per second by clients that wait for their answers, some few and some more."""
        rates = []
        for clients in CLOSED_CLIENTS:
            volley = await self.shoot(Closed(clients=clients, seconds=seconds), round(600 * seconds))
            rates.append(len(volley.settled()) / max([seconds, *volley.record.ended_s]))
        if not max(rates):
            raise BenchError(f"nothing was settled: {dict(self.told)}")
        return max(rates)

    def cpu(self) -> float:
        """CPU seconds of the service so far; 0 where its process is not known."""
        return cpu.sample(self.world.parties()).parties.get("service", 0.0)

    async def prove(self) -> list[str]:
        """What the books say once all is final. Raises ``BenchError`` when they do not hold, or not what was told."""
        await self.city.stand.until_final()
        proof = await self.city.stand.verify()
        settled, told = proof.ledger.counts["settled"], self.told[SETTLED]
        possible = told + sum(self.told[outcome] for outcome in OPEN)
        lines = [*proof.lines(), f"settled: {told} told to the tills at once, {settled} in the ledger"]
        if proof.violations or not told <= settled <= possible:
            raise BenchError("the books do not agree: " + "; ".join(lines))
        return lines


def steady(per_second: float, seconds: float, start_s: float = 0.0) -> list[float]:
    """Moments at equal distances."""
    return [start_s + number / per_second for number in range(round(per_second * seconds))]


@contextlib.asynccontextmanager
async def open_stage(ground: Ground, payment: Payment, say: Say) -> AsyncIterator[Stage]:
    """Bring up the service with its partners and enrolled tills; take it down at the end."""
    server = await look_at(ground.url)
    async with open_world(Options(clients=(TILLS,)), server, ground.folder, say) as world:
        yield Stage(world, await world.open_city(), payment)
