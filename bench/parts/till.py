"""Settlements as a till runs them: the whole terminal kit, with its journal on the same disk as the database."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Sequence

from bench.cells import Cell, Part, Reading, counted
from bench.load.jobs import Closed, TillJob
from bench.parts.settle import reached, warm_up
from bench.readings import loop_readings
from bench.world import City, World, new_mark
from loadtest.population import PIN

_CLIENTS = 8


async def _measure(world: World, city: City, clients: int) -> list[Reading]:
    seconds, mark = world.options.seconds, new_mark()
    rate = await reached(world, city, "account", clients)
    cards = await city.cards("account", world.expected(f"till/{clients}", seconds, rate))
    await warm_up(world, city)
    folder = world.folder / "journals"
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    job = TillJob(
        base_url=city.stand.base_url,
        stores=city.stores[:clients],
        cards=cards,
        payment="account",
        mark=mark,
        pin=PIN,
        folder=str(folder),
    )
    measured = await world.run(job, Closed(clients=clients, seconds=seconds))
    city.account_for("account", cards, measured.tally)
    return loop_readings(measured, "settlement")


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    city = await world.open_city()
    # The largest number of clients that was asked for and does not exceed 8, so that there is a lean figure beside it.
    clients = max([each for each in world.options.clients if each <= _CLIENTS], default=min(world.options.clients))
    rate = await reached(world, city, "account", clients)
    needed = world.expected(f"till/{clients}", world.options.seconds, rate) * world.options.repeats
    await city.reserve("account", needed)
    yield [
        Cell(
            key=f"till.account/{clients}",
            title=f"settle through the SDK with its journal, account only, {counted(clients, 'till')}",
            clients=clients,
            measure=functools.partial(_measure, world, city, clients),
        )
    ]


TILL = Part(name="till", title="settlements through the SDK as a till runs it", open=_open)
