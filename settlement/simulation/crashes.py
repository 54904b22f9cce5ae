"""Crash points, enumerated: a story is told once for each await of the service, and the service dies exactly there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from settlement.ledger.verify import Violation
from settlement.simulation import population
from settlement.simulation.model import Finding
from settlement.simulation.run import SeedResult, Simulator, cpu_s
from settlement.simulation.sources import seeded
from settlement.simulation.stories import Story
from settlement.simulation.till import Till
from settlement.simulation.world import World

SEED = 1
_RESTART_S = 1.0
_QUIET_S = 1.0
_FINAL_S = 8.0
"""What is not final by then waits for two days: a bank that forgets refusals."""


def tell(simulator: Simulator, story: Story, point: int | None) -> tuple[SeedResult, int]:
    """Tell a story; the service dies instead of taking step ``point`` (None: it lives). Also how many steps it took.

    A step is each time that a task or callback of the service is resumed: an await of a saga, of recovery, of a link. A
    call of the database is two of them, before its effect and after it.
    """
    began = cpu_s()
    simulator.reset()
    world = World(
        SEED,
        simulator.database,
        simulator.cards,
        workers=1,
        begin=story.begin,
        directory=population.directory([story.bank]),
        restart_s=_RESTART_S,
    )
    world.cards = [card for card in world.cards if card.bank_code == story.bank]
    steps: list[int] = []

    async def play(city: World) -> None:
        await city.build(story.purse)
        city.desk.calm = True
        order = story.order(city)
        for fault in story.faults:
            city.bank_of(order.card).faults.add(fault)
        for kind, statement in story.weather:
            city.weather.arm(kind, statement)
        process = city.workers[0].process
        begin = process.steps
        if point is not None:
            process.kill_at = begin + point
        till = Till(city, order, seeded(SEED, "story"), patient=True)
        till.agree(None, order.total_fen)
        await story.script(city, till)
        await asyncio.sleep(_QUIET_S)
        await city.last_words(_FINAL_S)
        steps.append(process.steps - begin)
        await city.close()

    findings: list[Finding] = simulator.play(world, play)
    if point is not None and not world.counts["crashes"]:
        findings.append(never_reached(point))
    return simulator.result(world, findings, began), steps[0] if steps else 0


def count_points(simulator: Simulator, story: Story) -> tuple[SeedResult, int]:
    """The story without a crash: what came of it, and how many points it has."""
    return tell(simulator, story, None)


def crash_at(simulator: Simulator, story: Story, points: Iterable[int]) -> list[tuple[int, SeedResult]]:
    """The story once for each of these points, with a crash there."""
    return [(point, tell(simulator, story, point)[0]) for point in points]


def never_reached(point: int) -> Finding:
    """The story did not get to its crash: two tellings of it were not the same."""
    return Finding(Violation("deterministic", f"the service never came to step {point}"))
