"""`settlement serve`: the service in the foreground, in one process or several; SIGTERM drains it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog
import uvloop

from settlement import __version__
from settlement.cli.failures import told

if TYPE_CHECKING:
    from settlement.cli.serving import LastResort, Up
    from settlement.config import Settings

log = structlog.get_logger("settlement.serve")


@dataclasses.dataclass(frozen=True, slots=True)
class Manner:
    """How this run was asked for: by whom, and over which database."""

    embedded: bool
    ready_json: bool
    watch_stdin: bool

    def kept_dir(self, settings: Settings) -> Path | None:
        """The directory of the embedded server, if it is ours to keep up."""
        return settings.data_dir if self.embedded else None


@click.command()
@click.option("--host", help="Address to listen on (setting http_host).")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen on, 0 takes a free one (setting http_port)."
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve the port (setting workers).")
@click.option("--ready-json", is_flag=True, help="Print one line of JSON when ready, for whoever started this process.")
@click.option("--watch-stdin", is_flag=True, help="Stop when standard input ends, as when the parent dies.")
def serve(host: str | None, port: int | None, workers: int | None, ready_json: bool, watch_stdin: bool) -> None:
    """Run the service: the terminal API, the engine with its links to the banks, and recovery.

    Without settings it makes its own keys and an embedded PostgreSQL under .data. On SIGTERM or Ctrl-C it takes no more
    requests, ends those under way within the setting drain_s, and leaves the rest to recovery at the next start. With
    several workers, one that dies is replaced while the others go on.
    """
    from settlement.bootstrap import prepare_installation
    from settlement.cli.serving import LastResort, listen
    from settlement.clock import SystemClock
    from settlement.config import load_settings
    from settlement.db.server import database_server
    from settlement.logging import configure_logging

    with told(), LastResort() as last_resort:
        read = load_settings(os.environ)
        settings = dataclasses.replace(
            read,
            http_host=read.http_host if host is None else host,
            http_port=read.http_port if port is None else port,
            workers=read.workers if workers is None else workers,
        )
        configure_logging(settings.log_format, settings.log_level)
        for path in prepare_installation(settings, SystemClock()):
            log.info("made", path=str(path))
        manner = Manner(settings.database_url is None, ready_json, watch_stdin)
        with database_server(settings) as running:
            sockets = listen(running.http_host, running.http_port)
            if running.workers == 1:
                uvloop.run(_alone(sockets, running, manner, last_resort))
            else:
                uvloop.run(_with_workers(sockets, running, manner))
            last_resort.disarm()


async def _alone(sockets: Sequence[socket.socket], settings: Settings, manner: Manner, last_resort: LastResort) -> None:
    from settlement.cli.database_keeper import kept_database
    from settlement.cli.serving import serve_on, stop_event, url_of

    url = url_of(settings.http_host, sockets)
    over = stop_event(signal.SIGTERM, signal.SIGINT, watch_stdin=manner.watch_stdin)
    async with kept_database(manner.kept_dir(settings)):
        await serve_on(sockets, settings, over, lambda up: _say_ready(url, settings, manner, up, []), last_resort)


async def _with_workers(sockets: Sequence[socket.socket], settings: Settings, manner: Manner) -> None:
    from settlement.bootstrap import open_base
    from settlement.cli.database_keeper import kept_database
    from settlement.cli.serving import FORCED_EXIT, stop_event, url_of
    from settlement.cli.workers import Workers

    url = url_of(settings.http_host, sockets)
    port = sockets[0].getsockname()[1]
    over = stop_event(signal.SIGTERM, signal.SIGINT, watch_stdin=manner.watch_stdin)
    async with open_base(settings) as base:  # migrated and checked, once, before the first worker looks
        offered = int(await base.pool.fetchval("show max_connections"))
    if settings.workers * settings.db_pool_max > offered:
        log.warning("too_few_connections", workers=settings.workers, each=settings.db_pool_max, offered=offered)
    async with kept_database(manner.kept_dir(settings)):
        crew = Workers(sockets, settings, settings.data_dir / f"metrics-{port}")
        up = await crew.start()
        _say_ready(url, settings, manner, up, crew.pids)
        await over.wait()
        log.info("draining", workers=len(crew.pids), drain_s=settings.drain_s)
        all_ended = await crew.stop()
    log.info("stopped")
    if not all_ended:
        raise SystemExit(FORCED_EXIT)


def _say_ready(url: str, settings: Settings, manner: Manner, up: Up, workers: Sequence[int]) -> None:
    if manner.ready_json:
        click.echo(json.dumps({"ready": True, "url": url, "pid": os.getpid(), "workers": list(workers)}))
    else:
        _banner(url, settings, manner, up)
    sys.stdout.flush()


def _banner(url: str, settings: Settings, manner: Manner, up: Up) -> None:
    from terminal_sdk.crypto import backend

    database = f"embedded PostgreSQL under {settings.data_dir}" if manner.embedded else "configured PostgreSQL"
    workers = f"  workers    {settings.workers} processes on the port\n" if settings.workers > 1 else ""
    click.echo(
        f"settlement {__version__}\n"
        f"  terminals  {url}/v1   (description {url}/openapi.json, page {url}/docs)\n"
        f"  health     {url}/healthz  {url}/readyz  {url}/metrics\n"
        f"{workers}"
        f"  database   {database}\n"
        f"  banks      {up.banks_up} of {up.banks} links up\n"
        f"  crypto     {backend().name}\n"
        f"  stop       Ctrl-C or SIGTERM; drains for {settings.drain_s} s"
    )
