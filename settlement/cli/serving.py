"""Serving the terminal interface on sockets that are open already, until told to stop; then draining to a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
import structlog

from settlement import __version__
from settlement.drain import LAST_STEPS_S

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from settlement.config import Settings

BACKLOG = 1_024
"""Connections that the kernel keeps until somebody accepts them."""
FORCED_MARGIN_S = LAST_STEPS_S + 1.0
"""How long after the drain's deadline a process is ended by force."""
FORCED_EXIT = 70
HURRY_S = 1.0
"""So long before the drain's deadline tills that still wait are told what stands: better than no answer."""

log = structlog.get_logger("settlement.serve")


class LastResort:
    """Ends the process some time after it is armed, unless the block ended; what is under way is recovery's then."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """From now on the process has so many seconds to end by itself."""

        def end() -> None:
            log.error("stop_forced", after_s=seconds)
            os._exit(FORCED_EXIT)

        self._timer = threading.Timer(seconds, end)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Self:
        """The block in which the process must come to its end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It did."""
        self.disarm()

    def disarm(self) -> None:
        """The process has come so far that what follows may take its time."""
        if self._timer is not None:
            self._timer.cancel()


@dataclass(frozen=True, slots=True)
class Up:
    """What a process that has begun to serve knows of its banks."""

    banks_up: int
    banks: int


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind and listen on every address of a host (port 0: a free one, the same for all); raises ``ClickException``.

    Nothing is answered before somebody accepts; until then connections wait in the kernel.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            bound = sockets[0].getsockname()[1] if sockets else port
            sockets.append(
                socket.create_server((address[0], bound), family=family, backlog=BACKLOG)  # SO_REUSEADDR is its default
            )
            sockets[-1].setblocking(False)
    except OSError as error:
        for each in sockets:
            each.close()
        # gaierror's numbers are not the system's; other errors carry the address once more in their own words
        reason = str(error) if error.errno is None or isinstance(error, socket.gaierror) else os.strerror(error.errno)
        raise click.ClickException(f"cannot listen on {host} port {port}: {reason}") from error
    return sockets


def url_of(host: str, sockets: Sequence[socket.socket]) -> str:
    """The address that terminals use."""
    return f"http://{f'[{host}]' if ':' in host else host}:{sockets[0].getsockname()[1]}"


def stop_event(*signals: int, watch_stdin: bool) -> asyncio.Event:
    """Set by any of these signals, and, if asked for, when standard input ends."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, over.set)
    if watch_stdin:
        threading.Thread(target=_wait_for_end, args=(loop, over), daemon=True, name="stdin").start()
    return over


def _wait_for_end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop may be gone already
        loop.call_soon_threadsafe(over.set)


async def serve_on(
    sockets: Sequence[socket.socket],
    settings: Settings,
    over: asyncio.Event,
    ready: Callable[[Up], None],
    last_resort: LastResort,
    *,
    prepared: bool = False,
    registry: CollectorRegistry | None = None,
) -> None:
    """Serve until ``over``, then drain: all of it within ``drain_s``, and some ``LAST_STEPS_S`` for closing.

    ``ready`` is called once requests are taken. ``prepared``: another process has brought the database up to date.
    ``registry``: what /metrics shows, if not this process's own. ``last_resort`` is armed for ``FORCED_MARGIN_S`` after
    the deadline.
    """
    from aiohttp import web
    from prometheus_client import REGISTRY

    from settlement.api import create_app, create_runner
    from settlement.api.app import ADMISSION
    from settlement.bootstrap import open_base, open_service

    async with open_base(settings, prepared=prepared) as base, open_service(base) as service:
        app = create_app(service.engine, base.terminals, settings, registry=registry or REGISTRY)
        runner = create_runner(app, settings)
        await runner.setup()
        try:
            for each in sockets:
                await web.SockSite(runner, each, backlog=BACKLOG).start()
            states = service.links.states().values()
            up = Up(sum(1 for state in states if state.ready), len(states))
            log.info("serving", version=__version__, banks_up=up.banks_up, banks=up.banks)
            ready(up)
            await over.wait()
            service.drain.begin()
            last_resort.arm(settings.drain_s + FORCED_MARGIN_S)
            log.info("draining", under_way=service.engine.under_way, drain_s=settings.drain_s)
            app[ADMISSION].close()
            asyncio.get_running_loop().call_later(max(0.0, settings.drain_s - HURRY_S), service.engine.hurry)
        finally:
            # Stops listening first, then waits for the requests under way; the engine drains after it.
            with contextlib.suppress(asyncio.CancelledError):
                await runner.cleanup()
    log.info("stopped")
