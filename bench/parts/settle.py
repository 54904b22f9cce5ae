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
from loadtest.prepared import CardKey

TITLES: dict[Payment, str] = {"account": "account only", "bank": "account + bank"}
_GUESS_PER_S = 300.0
_TRIAL_S = 0.5
_TRIAL_GUESS_PER_S = 150.0
_WARM_UP_S_MAX = 20.0
_WARM_UP_BILLS_PER_S = 100.0
_WARM_UP_BILLS_MAX = 200


async def run_http(world: World, city: City, payment: Payment, plan: Closed | Planned, count: int) -> Measured:
    """One run with fresh cards, as many as are planned or at most ``count``. Raises ``BenchError``."""
    cards = await city.cards(payment, count)
    await warm_up(world, city)
    return await _run(world, city, payment, plan, cards)


async def warm_up(world: World, city: City) -> None:
    """Settle some bills of each kind, with as many tills as there will be, unless the service is warm.

    Analysing tables makes every database connection of the service plan its statements anew, which costs more than the
    settlements themselves.
    """
    if not city.cold:
        return
    # First all cards: admitting the missing ones would make the service cold again.
    dealt = {payment: await city.cards(payment, _warm_up_bills(world)) for payment in TITLES}
    city.cold = False
    for payment, cards in dealt.items():
        plan = Closed(clients=world.options.most_clients, seconds=_WARM_UP_S_MAX)  # over when the cards are
        await _run(world, city, payment, plan, cards)


async def reached(world: World, city: City, payment: Payment, clients: int) -> float:
    """Settlements per second that so many clients reach here: remembered, or tried out now."""
    key = f"settle.{payment}/{clients}"
    known = world.learnt(key)
    if known is None:
        trial = Closed(clients=clients, seconds=min(_TRIAL_S, world.options.seconds))
        await _prepare_trials(world, city)
        measured = await run_http(world, city, payment, trial, _trial_bills(world))
        known = measured.tally.done / measured.tally.elapsed_s
        world.learn(key, known)
    return known


async def _run(world: World, city: City, payment: Payment, plan: Closed | Planned, cards: list[CardKey]) -> Measured:
    tills = plan.clients if isinstance(plan, Closed) else len(city.stores)
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


async def _prepare_trials(world: World, city: City) -> None:
    """Cards for a warm-up and the trials, and others set aside for the warm-up before the measurements; once."""
    if city.tried_out:
        return
    city.tried_out = True
    warm_up_bills = _warm_up_bills(world)
    for payment in TITLES:
        await city.stock(payment, warm_up_bills + _trial_bills(world) * (len(world.options.clients) + 1))
        await city.reserve(payment, warm_up_bills)


def _warm_up_bills(world: World) -> int:
    bills = min(_WARM_UP_BILLS_MAX, round(_WARM_UP_BILLS_PER_S * world.options.seconds))
    return max(bills, world.options.most_clients)


def _trial_bills(world: World) -> int:
    return world.expected("trial", min(_TRIAL_S, world.options.seconds), _TRIAL_GUESS_PER_S)


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
    for payment in TITLES:
        for clients in world.options.clients:
            await reached(world, city, payment, clients)
    for payment, title in TITLES.items():
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
