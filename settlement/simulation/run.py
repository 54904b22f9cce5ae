"""One seed from beginning to end: reset, storm, calm, last words, judgement."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import structlog

from settlement.ledger.verify import Violation
from settlement.simulation import evidence, population
from settlement.simulation.cluster import (
    Cluster,
    drop_job_database,
    make_job_database,
    make_template,
    reset_statements,
    simulation_settings,
    throw_away_cluster,
)
from settlement.simulation.database import RealDatabase, in_real_time, is_injected
from settlement.simulation.loop import Stalled, current_process
from settlement.simulation.model import Finding, judge
from settlement.simulation.plants import Plant, planted
from settlement.simulation.population import Card
from settlement.simulation.trace import Event
from settlement.simulation.world import World

SETTLEMENTS = 50
FAULTS = 20
_EVENTS_SHOWN = 80
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VACUUM_EVERY = 8


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What became of a seed.

    ``digest``: SHA-256 (hex) of the trace · ``cpu_s``: user and system time of this process · ``reached``: how often a
    leg made which move · ``told``: for each violation, the events of the bill concerned · ``events``: all, if kept.
    """

    seed: int
    ok: bool
    violations: list[Violation]
    digest: str
    counts: dict[str, int]
    cpu_s: float
    reached: dict[str, int] = field(default_factory=dict, repr=False)
    told: list[list[str]] = field(default_factory=list, repr=False)
    events: list[Event] = field(default_factory=list, repr=False)


class Simulator:
    """Runs seeds one after another on one database. ``cluster``: names it, for owner and superuser."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.database = RealDatabase()
        self._superuser: Any = None
        self._reset = ""
        self._runs = 0
        self.cards: list[Card] = []

    def open(self) -> None:
        """Connect."""
        self.database.open(simulation_settings(self._cluster.owner_url))
        self._superuser = self.database.wait(asyncpg.connect(self._cluster.superuser_url))
        self._reset = self.database.wait(reset_statements(self._superuser))
        self.cards = self.database.wait(population.cards(self._superuser))

    def close(self) -> None:
        """Disconnect."""
        self.database.wait(self._superuser.close())
        self.database.close()

    def reset(self) -> None:
        """Bring the database back to its beginning."""
        self.database.wait(self._superuser.execute(self._reset))
        self._runs += 1
        if self._runs % _VACUUM_EVERY == 0:
            self.database.wait(self._superuser.execute("vacuum"))

    def run_seed(
        self,
        seed: int,
        plant: Plant | None = None,
        *,
        settlements: int = SETTLEMENTS,
        fault_count: int = FAULTS,
        keep_events: bool = False,
    ) -> SeedResult:
        """One seed, with or without a planted flaw."""

        async def play(world: World) -> None:
            await world.build()
            await world.storm(settlements, fault_count)
            await world.settle_down()
            await world.last_words()
            await world.close()

        began = cpu_s()
        self.reset()
        with planted(plant, self.database):
            world = World(seed, self.database, self.cards)
            findings = self.play(world, play)
        return self.result(world, findings, began, keep_events=keep_events)

    def play(self, world: World, story: Callable[[World], Any]) -> list[Finding]:
        """Let a story happen in a world, and judge it."""
        with _logs_heard(world):
            try:
                world.loop.run_until_complete(story(world))
                findings = self._judge(world)
            except Stalled as error:
                findings = [Finding(Violation("progress", str(error)))]
            finally:
                world.loop.end()
        return findings

    def _judge(self, world: World) -> list[Finding]:
        verified, open_legs = evidence.verify(self.database, world.banks)
        seen = evidence.collect(self.database, world.banks)
        judged = judge(world.orders, seen, world.cards, world.credited_fen, world.bank_fen, open_legs)
        return [
            *(Finding(each) for each in verified),
            *judged,
            *(Finding(Violation("unexpected", text)) for text in dict.fromkeys(world.loop.troubles)),
        ]

    def result(self, world: World, findings: list[Finding], began: float, *, keep_events: bool = False) -> SeedResult:
        """What there is to say about a run."""
        counts = dict(sorted(world.counts.items()))
        counts |= {f"database {kind}": number for kind, number in sorted(world.weather.played.items())}
        counts |= {f"message {fate}": number for fate, number in sorted(world.desk.fates.items())}
        counts["settlements"] = world.settlements
        counts["faults"] = world.faults_played + world.counts["faults of banks"]
        counts["orders"] = len(world.orders)
        counts["events"] = len(world.trace.events)
        told = [[event.line() for event in world.trace.about(_names(each, world), _EVENTS_SHOWN)] for each in findings]
        return SeedResult(
            seed=world.seed,
            ok=not findings,
            violations=[each.violation for each in findings],
            digest=world.trace.digest,
            counts=counts,
            cpu_s=cpu_s() - began,
            reached=evidence.moves(self.database),
            told=told,
            events=world.trace.events if keep_events else [],
        )


def _names(finding: Finding, world: World) -> list[str]:
    """By what the trace knows the bill of a finding: that of its order, or of the settlement that its text names."""
    if finding.order is not None:
        return finding.order.names()
    ids = _ID.findall(finding.violation.finding)
    known = [name for order in world.orders if set(ids) & set(order.names()) for name in order.names()]
    return known or ids


@contextlib.contextmanager
def open_simulator() -> Iterator[Simulator]:
    """A simulator with a server of its own, for tests and single runs. Blocks: not inside an event loop."""
    with throw_away_cluster() as cluster:
        in_real_time(make_template(cluster))
        with simulator_on(cluster, "simulation_0") as simulator:
            yield simulator


@contextlib.contextmanager
def simulator_on(cluster: Cluster, name: str) -> Iterator[Simulator]:
    """A simulator on a database of its own in a prepared cluster."""
    simulator = Simulator(in_real_time(make_job_database(cluster, name)))
    simulator.open()
    try:
        yield simulator
    finally:
        simulator.close()
        in_real_time(drop_job_database(cluster, name))


@contextlib.contextmanager
def _logs_heard(world: World) -> Iterator[None]:
    """Log lines go into the trace; one that tells of an exception nobody injected is a finding."""

    def hear(_: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        process = current_process()
        world.trace.note(process.name if process else "", "log", f"{level} {event.get('event')}")
        error = sys.exc_info()[1]
        if level in {"error", "exception"} and error is not None and not is_injected(error):
            world.loop.troubles.append(f"{event.get('event')}: {error!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def cpu_s() -> float:
    """User and system time of this process so far, seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
