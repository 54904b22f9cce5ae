"""Planned arrivals: patients who come when they come, whether the last one is done or not (open loop)."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from bench.cells import Cell, Part, Reading
from bench.load.jobs import Payment, Planned
from bench.parts.settle import TITLES, reached, run_http
from bench.readings import client_share, cpu_readings, failed, latency_readings
from bench.spread import percentile
from bench.world import City, World
from loadtest.shapes import Profile

SHARES = (0.5, 0.8)
"""Default rates: these shares of what the closed loop reached with the most clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many arrivals a second, and its stable name."""

    per_second: float
    name: str
    title: str


def poisson(per_second: float, seconds: float, seed: str) -> list[float]:
    """Moments (seconds from the start) of arrivals that know nothing of each other; the same seed gives the same."""
    chance = random.Random(seed)  # noqa: S311 - a plan that can be repeated, no secret
    steady = Profile("steady", duration_s=seconds, peak=per_second)
    return [moment_ms / 1_000 for moment_ms in steady.arrivals_ms(chance)] or [seconds / 2]


async def _measure(world: World, city: City, payment: Payment, rate: Rate, repeats: list[int]) -> list[Reading]:
    repeats[0] += 1
    seed = f"{world.options.seed}:{payment}:{rate.name}:{repeats[0]}"
    offsets_s = poisson(rate.per_second, world.options.seconds, seed)
    measured = await run_http(world, city, payment, Planned(offsets_s=offsets_s), len(offsets_s))
    tally = measured.tally
    return [
        Reading(quantity="rate", value=tally.done / tally.elapsed_s, unit="settlements/s", title="settled"),
        Reading(quantity="planned", value=rate.per_second, unit="settlements/s", title="planned rate"),
        *latency_readings(tally.latencies_ms, since="planned moment"),
        Reading(
            quantity="late_p99",
            value=percentile(tally.late_ms, 0.99),
            unit="ms",
            title="lateness of the generator p99",
        ),
        Reading(quantity="late_max", value=max(tally.late_ms), unit="ms"),
        client_share(measured),
        *cpu_readings(measured, "settlement"),
        Reading(quantity="done", value=tally.done, unit="settlements"),
        Reading(quantity="failed", value=failed(measured), unit="settlements"),
    ]


async def _rates(world: World, city: City, payment: Payment) -> list[Rate]:
    if world.options.rates:
        return [Rate(per_second=each, name=f"{each:g}-per-s", title=f"{each:g}/s") for each in world.options.rates]
    reachable = await reached(world, city, payment, world.options.most_clients)
    return [
        Rate(
            per_second=max(1.0, round(share * reachable)),
            name=f"{share:.0%}",
            title=f"{max(1, round(share * reachable))}/s ({share:.0%} of the closed loop)",
        )
        for share in SHARES
    ]


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    city = await world.open_city()
    cells = []
    for payment, title in TITLES.items():
        rates = await _rates(world, city, payment)
        needed = sum(rate.per_second for rate in rates) * world.options.seconds * world.options.repeats
        await city.reserve(payment, round(needed))
        cells += [
            Cell(
                key=f"arrivals.{payment}/{rate.name}",
                title=f"planned arrivals, {title}, {rate.title}",
                measure=functools.partial(_measure, world, city, payment, rate, [0]),
            )
            for rate in rates
        ]
    yield cells


ARRIVALS = Part(name="arrivals", title="planned arrivals, open loop", open=_open)
