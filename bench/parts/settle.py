"""Settlements over HTTP in a closed loop: the main figure. Every card is used once, so that nothing is cached."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Sequence

from bench.cells import Cell, Part, Reading, counted
from bench.load.jobs import Closed, HttpJob, Payment, Planned
from bench.loader import Measured
from bench.readings import loop_readings, per_core
from bench.world import MARGIN, City, World, new_mark
from loadtest.population import PIN

TITLES: dict[Payment, str] = {"account": "account only", "bank": "account + bank"}
_GUESS_PER_S = 300.0
_WARM_UP_S = 20.0
_WARM_UP_BILLS_PER_S = 100.0
_WARM_UP_BILLS_MAX = 300
_TRIAL_S = 0.5


async def run_http(world: World, city: City, payment: Payment, plan: Closed | Planned, count: int) -> Measured:
    """One run with fresh cards, as many as are planned or at most ``count``. Raises ``BenchError``."""
    tills = plan.clients if isinstance(plan, Closed) else len(city.stores)
    cards = await city.cards(payment, count)
    job = HttpJob(
        base_url=city.stand.base_url,
        stores=city.stores[:tills],
        cards=cards,
        payment=payment,
        mark=new_mark(),
        pin=PIN,
    )
    measured = await world.run(job, plan)
    city.account_for(payment, cards, measured.tally)
    return measured


async def reached(world: World, city: City, payment: Payment, clients: int) -> float:
    """Settlements per second that so many clients reach here: remembered, or tried out now.

    Before the first trial of a kind of bill the service is warmed up with as many tills as there will be: a database
    connection of the service plans every statement anew, which costs more than the settlements themselves.
    """
    key = f"settle.{payment}/{clients}"
    known = world.learnt(key)
    if known is None:
        if payment not in city.warm:
            bills = min(_WARM_UP_BILLS_MAX, round(_WARM_UP_BILLS_PER_S * world.options.seconds))
            warm_up = Closed(clients=world.options.most_clients, seconds=_WARM_UP_S)  # over when the cards are
            await run_http(world, city, payment, warm_up, max(bills, world.options.most_clients))
            city.warm.add(payment)
        trial = Closed(clients=clients, seconds=min(_TRIAL_S, world.options.seconds))
        measured = await run_http(
            world, city, payment, trial, world.expected(f"trial.{payment}", trial.seconds, _GUESS_PER_S)
        )
        known = measured.tally.done / measured.tally.elapsed_s
        world.learn(key, known)
    return known


async def _measure(world: World, city: City, payment: Payment, clients: int) -> list[Reading]:
    key, seconds = f"settle.{payment}/{clients}", world.options.seconds
    count = world.expected(key, seconds, _GUESS_PER_S)
    measured = await run_http(world, city, payment, Closed(clients=clients, seconds=seconds), count)
    readings = loop_readings(measured, "settlement")
    world.learn(key, readings[0].value)
    return [*readings, *per_core(readings, "settlement")]


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    city = await world.open_city()
    for payment, title in TITLES.items():
        for clients in world.options.clients:
            await reached(world, city, payment, clients)
        needed = sum(
            world.expected(f"settle.{payment}/{clients}", world.options.seconds, _GUESS_PER_S)
            for clients in world.options.clients
        )
        # What a repeat does not use of its margin is there for the next one.
        needed += round(needed / MARGIN * (world.options.repeats - 1))
        world.say(f"settle: admitting up to {needed} patients, {title}")
        await city.reserve(payment, needed)
    yield [
        Cell(
            key=f"settle.{payment}/{clients}",
            title=f"settle over HTTP, {title}, {counted(clients, 'till')} (lean)",
            clients=clients,
            measure=functools.partial(_measure, world, city, payment, clients),
        )
        for payment, title in TITLES.items()
        for clients in world.options.clients
    ]


SETTLE = Part(name="settle", title="settlements over HTTP, closed loop", open=_open)
