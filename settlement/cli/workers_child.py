"""One of several workers, started by `settlement serve --workers`: it serves the sockets that it inherited."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settlement.cli.failures import told
from settlement.cli.workers_metrics import share, shared_registry

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from settlement.cli.serving import LastResort, Up
    from settlement.config import Settings


@click.command()
@click.option("--place", type=click.IntRange(0), required=True, help="Which of the workers this is.")
@click.option("--socket", "descriptors", type=int, multiple=True, required=True, help="A listening socket to serve.")
@click.option("--metrics", type=click.Path(path_type=Path), required=True, help="Folder of the shared metrics.")
def worker(place: int, descriptors: tuple[int, ...], metrics: Path) -> None:
    """Serve until SIGTERM, or until standard input ends because the parent did."""
    share(metrics, place)
    import structlog
    import uvloop

    from settlement.cli.serving import LastResort
    from settlement.config import load_settings
    from settlement.logging import configure_logging

    # Ctrl-C reaches the whole group; the parent says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with told(), LastResort() as last_resort:
        settings = load_settings(os.environ)
        configure_logging(settings.log_format, settings.log_level)
        structlog.contextvars.bind_contextvars(worker=place)
        sockets = [socket.socket(fileno=each) for each in descriptors]
        uvloop.run(_serve(sockets, settings, place, shared_registry(metrics), last_resort))


async def _serve(
    sockets: list[socket.socket],
    settings: Settings,
    place: int,
    registry: CollectorRegistry,
    last_resort: LastResort,
) -> None:
    from prometheus_client import Counter, Gauge

    from settlement.cli.serving import serve_on, stop_event

    alive = Gauge("settlement_worker_up", "1 while this worker serves", ["worker"], multiprocess_mode="livemax")
    starts = Counter("settlement_worker_starts_total", "How often this worker was started", ["worker"])
    starts.labels(str(place)).inc()

    def ready(up: Up) -> None:
        alive.labels(str(place)).set(1)
        sys.stdout.write(json.dumps({"ready": True, "banks_up": up.banks_up, "banks": up.banks}) + "\n")
        sys.stdout.flush()

    over = stop_event(signal.SIGTERM, watch_stdin=True)
    await serve_on(sockets, settings, over, ready, last_resort, prepared=True, registry=registry)


if __name__ == "__main__":
    worker()
