"""Brings the embedded PostgreSQL up again when it dies under a running service: nobody else would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from settlement.db.cluster import running_pid
from settlement.db.embedded import EmbeddedPostgres
from settlement.db.errors import EmbeddedError
from settlement.db.placement import find_placement

_LOOK_EVERY_S = 0.5
_AGAIN_AFTER_S = 5.0

log = structlog.get_logger("settlement.serve")


@contextlib.asynccontextmanager
async def kept_database(data_dir: Path | None) -> AsyncIterator[None]:
    """Watch the embedded server of this directory for as long as the block runs. None: there is none to watch."""
    if data_dir is None:
        yield
        return
    server = EmbeddedPostgres(data_dir)
    over = asyncio.Event()
    watch = asyncio.create_task(_watch(data_dir, server, over), name="database-keeper")
    try:
        yield
    finally:
        # Not cancelled: a start that is under way must have ended before the server is left.
        over.set()
        await watch
        await asyncio.to_thread(server.stop)


async def _watch(data_dir: Path, server: EmbeddedPostgres, over: asyncio.Event) -> None:
    place = find_placement(data_dir)
    pause_s = _LOOK_EVERY_S
    while not await _set_within(over, pause_s):
        pause_s = _LOOK_EVERY_S
        if running_pid(place) is not None:
            continue
        log.error("database_died")
        try:
            await asyncio.to_thread(server.start)
        except EmbeddedError as error:
            log.error("database_not_started", reason=str(error))  # noqa: TRY400 - expected
            pause_s = _AGAIN_AFTER_S
        else:
            log.info("database_restarted")


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
