"""A bare aiohttp echo under the same client: what is left of the client and HTTP when nobody settles anything."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Sequence

from bench.cells import Cell, Part, Reading, counted
from bench.load.jobs import Closed, EchoJob
from bench.readings import loop_readings
from bench.world import World
from settlement.childprocess import ChildProcess

_START_S = 30.0
_PER_CLIENT_PER_S = 20_000


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    server = ChildProcess(world.folder / "echo.log", start_timeout_s=_START_S)
    try:
        ready = await server.launch([sys.executable, "-m", "bench.echo_server"], {})
        pids = () if server.pid is None else (server.pid,)
        yield [
            Cell(
                key=f"echo/{clients}",
                title=f"bare HTTP echo, {counted(clients, 'client')}",
                clients=clients,
                measure=functools.partial(_measure, world, ready["url"], pids, clients),
            )
            for clients in world.options.clients
        ]
    finally:
        await server.stop()


async def _measure(world: World, base_url: str, pids: tuple[int, ...], clients: int) -> list[Reading]:
    seconds = world.options.seconds
    job = EchoJob(base_url=base_url, count=round(_PER_CLIENT_PER_S * seconds))
    measured = await world.run(job, Closed(clients=clients, seconds=seconds), {"echo": pids})
    return loop_readings(measured, "answer")


ECHO = Part(name="echo", title="bare HTTP echo", open=_open)
