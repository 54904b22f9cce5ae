"""Measures what PostgreSQL can make durable here: one row per commit, by one and by many connections, and in batches.

    python bench/database.py [--seconds 3.0]

A fresh embedded server, durable commits, one narrow table. The rows per second of each way stand beside the first: the
ratio says what gathering settlements into batches gains on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from settlement.config import Settings
from settlement.db import EmbeddedPostgres, create_pool

CONNECTIONS = 16
BATCH_ROWS = 100
ONE_ROW = "INSERT INTO bench (id, amount_fen) VALUES ($1, $2)"
MANY_ROWS = "INSERT INTO bench (id, amount_fen) SELECT * FROM unnest($1::bigint[], $2::bigint[])"


async def rows_per_second(workers: int, seconds: float, step: Callable[[], Awaitable[int]]) -> float:
    """Let so many workers repeat a step that reports how many rows it wrote."""
    end = time.monotonic() + seconds
    written = 0

    async def work() -> None:
        nonlocal written
        while time.monotonic() < end:
            written += await step()

    begun = time.monotonic()
    await asyncio.gather(*(work() for _ in range(workers)))
    return written / (time.monotonic() - begun)


async def measure(dsn: str, seconds: float) -> None:
    """Run each way once and print it."""
    settings = Settings(database_url=dsn, db_pool_min=CONNECTIONS, db_pool_max=CONNECTIONS)
    async with await create_pool(settings) as pool:
        await pool.execute("CREATE TABLE bench (id bigint, amount_fen bigint)")

        async def one() -> int:
            await pool.execute(ONE_ROW, 1, 1)
            return 1

        async def batch() -> int:
            numbers = list(range(BATCH_ROWS))
            await pool.execute(MANY_ROWS, numbers, numbers)
            return BATCH_ROWS

        ways = [
            ("one row a commit, 1 connection", 1, one),
            (f"one row a commit, {CONNECTIONS} connections", CONNECTIONS, one),
            (f"{BATCH_ROWS} rows a commit, 1 connection", 1, batch),
            (f"{BATCH_ROWS} rows a commit, {CONNECTIONS} connections", CONNECTIONS, batch),
        ]
        first = 0.0
        for name, workers, step in ways:
            rate = await rows_per_second(workers, seconds, step)
            first = first or rate
            sys.stdout.write(f"{name:<38} {rate:>10,.0f} rows/s  {rate / first:>7.1f} ×\n")


def main() -> None:
    """Start a server of our own, measure, remove it."""
    parser = argparse.ArgumentParser(description="Durable rows per second on this machine.")
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure (default 3.0)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "data")
        try:
            uvloop.run(measure(server.start(), seconds))
        finally:
            server.stop()
            server.remove()


if __name__ == "__main__":
    main()
