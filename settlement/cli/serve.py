"""`settlement serve`: the service in the foreground; SIGTERM drains it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click
import structlog
import uvloop

from settlement import __version__
from settlement.cli.failures import told

if TYPE_CHECKING:
    from aiohttp.web import AppRunner

    from settlement.config import Settings

log = structlog.get_logger("settlement.serve")


@click.command()
@click.option("--host", help="Address to listen on (setting http_host).")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen on, 0 takes a free one (setting http_port)."
)
@click.option("--ready-json", is_flag=True, help="Print one line of JSON when ready, for whoever started this process.")
@click.option("--watch-stdin", is_flag=True, help="Stop when standard input ends, as when the parent dies.")
def serve(host: str | None, port: int | None, ready_json: bool, watch_stdin: bool) -> None:
    """Run the service: the terminal API, the engine with its links to the banks, and recovery.

    Without settings it makes its own keys and an embedded PostgreSQL under .data. On SIGTERM or Ctrl-C it takes no more
    requests, ends those under way within the setting drain_s, and leaves the rest to recovery at the next start.
    """
    from settlement.bootstrap import prepare_installation
    from settlement.clock import SystemClock
    from settlement.config import load_settings
    from settlement.db.server import database_server
    from settlement.logging import configure_logging

    with told():
        settings = load_settings(os.environ)
        if host is not None:
            settings = dataclasses.replace(settings, http_host=host)
        if port is not None:
            settings = dataclasses.replace(settings, http_port=port)
        configure_logging(settings.log_format, settings.log_level)
        for path in prepare_installation(settings, SystemClock()):
            log.info("made", path=str(path))
        embedded = settings.database_url is None
        with database_server(settings) as running:
            uvloop.run(_serve(running, embedded=embedded, ready_json=ready_json, watch_stdin=watch_stdin))


async def _serve(settings: Settings, *, embedded: bool, ready_json: bool, watch_stdin: bool) -> None:
    from aiohttp import web

    from settlement.api import create_app, create_runner
    from settlement.api.app import ADMISSION
    from settlement.bootstrap import open_base, open_service
    from terminal_sdk.crypto import backend

    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, over.set)
    if watch_stdin:
        threading.Thread(target=_wait_for_end, args=(loop, over), daemon=True, name="stdin").start()
    async with open_base(settings) as base, open_service(base) as service:
        app = create_app(service.engine, base.terminals, settings)
        runner = create_runner(app, settings)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.http_host, settings.http_port, reuse_address=True)
            await site.start()
            url = f"http://{settings.http_host}:{_port_of(runner)}"
            states = service.links.states()
            up = sum(1 for state in states.values() if state.ready)
            log.info("serving", url=url, version=__version__, crypto=backend().name, banks_up=up, banks=len(states))
            if ready_json:
                click.echo(json.dumps({"ready": True, "url": url, "pid": os.getpid()}))
                sys.stdout.flush()
            else:
                _banner(url, settings, embedded=embedded, up=up, banks=len(states))
            await over.wait()
            log.info("draining", under_way=service.engine.under_way)
            app[ADMISSION].close()
        finally:
            # Stops listening first, then waits for the requests under way; the engine drains after it.
            with contextlib.suppress(asyncio.CancelledError):
                await runner.cleanup()
    log.info("stopped")


def _banner(url: str, settings: Settings, *, embedded: bool, up: int, banks: int) -> None:
    from terminal_sdk.crypto import backend

    database = f"embedded PostgreSQL under {settings.data_dir}" if embedded else "configured PostgreSQL"
    click.echo(
        f"settlement {__version__}\n"
        f"  terminals  {url}/v1   (description {url}/openapi.json, page {url}/docs)\n"
        f"  health     {url}/healthz  {url}/readyz  {url}/metrics\n"
        f"  database   {database}\n"
        f"  banks      {up} of {banks} links up\n"
        f"  crypto     {backend().name}\n"
        f"  stop       Ctrl-C or SIGTERM; drains for {settings.drain_s} s"
    )
    sys.stdout.flush()


def _port_of(runner: AppRunner) -> int:
    port: int = runner.addresses[0][1]
    return port


def _wait_for_end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    loop.call_soon_threadsafe(over.set)
