"""What the parts of a run share: the server, the load process, and, once it is needed, the service with its tills."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.bills import BANK_ACCOUNT_FEN, CURRENT_YEAR_FEN
from bench.cells import BenchError
from bench.load.jobs import LoopJob, Payment, Plan, ShotsJob, Tally
from bench.loader import Loader, Measured, Shooting, running_loader
from bench.options import Options
from bench.server import Server
from loadtest.population import Institution, PatientSpec, admit, enrol_terminals
from loadtest.prepared import CardKey
from loadtest.stand import Stand, running_stand

HOSPITAL = Institution("H31010100099", "压测医院", "hospital", 3)
BANKS = ("ICBC", "ABC", "CCB", "BOC", "BOSC", "SPDB", "CMB", "PSBC", "BOCOM", "CEB")
_TILLS = 32
MARGIN = 1.5
"""How many times as much is prepared for a measurement as it needed before."""
_FAILED_SHARE_MAX = 0.01

Say = Callable[[str], None]


@dataclass(slots=True)
class City:
    """The service under measurement, its tills, and the cards that nobody has seen yet.

    ``cold``: the service's database connections have to plan their statements (again).
    """

    stand: Stand
    stores: list[str]
    fresh: dict[Payment, list[CardKey]] = field(default_factory=lambda: {"account": [], "bank": []})
    settled: int = 0
    cold: bool = True
    tried_out: bool = False
    _admitted: int = 0
    _reserved: Counter[Payment] = field(default_factory=Counter)

    async def reserve(self, payment: Payment, count: int) -> None:
        """Have so many cards more than were reserved before: admitting must not fall between measurements."""
        self._reserved[payment] += count
        await self.stock(payment, self._reserved[payment])

    async def cards(self, payment: Payment, count: int) -> list[CardKey]:
        """So many cards for this kind of bill, never used before; missing ones are admitted now."""
        await self.stock(payment, count)
        taken, self.fresh[payment] = self.fresh[payment][:count], self.fresh[payment][count:]
        return taken

    def account_for(self, payment: Payment, cards: list[CardKey], tally: Tally) -> None:
        """Note what a run settled, and take back the cards that it did not use."""
        self.settled += tally.done
        self.fresh[payment] += tally.unused(cards)

    async def stock(self, payment: Payment, count: int) -> None:
        """Have so many unused cards; their rows are then analysed, as the server's own vacuum would in time."""
        missing = count - len(self.fresh[payment])
        if missing <= 0:
            return
        numbers = range(self._admitted, self._admitted + missing)
        self._admitted += missing
        patients = await admit(
            self.stand,
            [
                PatientSpec(
                    number=number,
                    bank_code=BANKS[number % len(BANKS)],
                    bank_fen=BANK_ACCOUNT_FEN,
                    current_year_fen=CURRENT_YEAR_FEN[payment],
                )
                for number in numbers
            ],
        )
        self.fresh[payment] += [patient.card for patient in patients]
        await self.stand.base.pool.execute("vacuum analyze")
        self.cold = True


class World:
    """One run's ground. ``folder``: on the disk that is measured; ``say`` tells people what goes on."""

    def __init__(
        self, options: Options, server: Server, folder: Path, loader: Loader, stack: contextlib.AsyncExitStack, say: Say
    ) -> None:
        self.options = options
        self.server = server
        self.folder = folder
        self.say = say
        self._loader = loader
        self._stack = stack
        self._city: City | None = None
        self._rates: dict[str, float] = {}

    @property
    def city(self) -> City | None:
        """The service, if any part has needed it."""
        return self._city

    async def open_city(self) -> City:
        """The service with bank hosts, on a database of its own; the same for all parts."""
        if self._city is None:
            dsn = await self._stack.enter_async_context(self.server.database("service"))
            stand = await self._stack.enter_async_context(running_stand(self.folder / "stand", dsn=dsn))
            ids = [f"BNCH{number:04d}" for number in range(max(_TILLS, self.options.most_clients))]
            await enrol_terminals(stand, HOSPITAL, ids)
            stores = [str((stand.folder / "terminals" / f"{each}.json").absolute()) for each in ids]
            self._city = City(stand, stores)
        return self._city

    def parties(self) -> dict[str, tuple[int, ...]]:
        """Whose CPU is read while something runs."""
        own = self.database_only()
        if self._city is not None:
            own |= {name: pids for name, pids in self._city.stand.processes.items() if name != "database" and pids}
        return own

    def database_only(self) -> dict[str, tuple[int, ...]]:
        """The database server, where it runs on this machine."""
        return {} if self.server.postmaster is None else {"database": (self.server.postmaster,)}

    async def run(self, job: LoopJob, plan: Plan, parties: Mapping[str, tuple[int, ...]] | None = None) -> Measured:
        """Run a job in the load process. Raises ``BenchError``, also when more than one in a hundred fails."""
        measured = await self._loader.run(job, plan, self.parties() if parties is None else parties)
        total = sum(measured.tally.outcomes.values())
        failed = total - measured.tally.done
        if not measured.tally.done or failed > total * _FAILED_SHARE_MAX:
            outcomes = ", ".join(f"{name} {count}" for name, count in sorted(measured.tally.outcomes.items()))
            raise BenchError(f"{failed} of {total} operations failed ({outcomes or 'nothing was done'})")
        return measured

    async def shoot(self, job: ShotsJob, plan: Plan, marks_s: Sequence[float] = ()) -> Shooting:
        """Run a light load in the load process, whatever comes of it. Raises ``BenchError``."""
        return await self._loader.shoot(job, plan, self.parties(), marks_s)

    def expected(self, key: str, seconds: float, guess: float) -> int:
        """How many operations a measurement may need: by what it reached last, or by a guess (per second)."""
        return math.ceil(self._rates.get(key, guess) * seconds * MARGIN) + self.options.most_clients

    def learn(self, key: str, rate: float) -> None:
        """Remember what a measurement reached, per second; the highest counts."""
        self._rates[key] = max(rate, self._rates.get(key, 0.0))

    def learnt(self, key: str) -> float | None:
        """What a measurement reached at best, per second; None before its first run."""
        return self._rates.get(key)


@contextlib.asynccontextmanager
async def open_world(options: Options, server: Server, folder: Path, say: Say) -> AsyncIterator[World]:
    """The ground for a run; everything that was brought up is taken down at the end."""
    async with contextlib.AsyncExitStack() as stack:
        loader = await stack.enter_async_context(running_loader(folder / "load.log"))
        yield World(options, server, folder, loader, stack, say)


def new_mark() -> str:
    """Begins the visit numbers of one measurement, so that they are nobody else's."""
    return f"B{secrets.token_hex(5)}"
