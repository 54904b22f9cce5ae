"""PostgreSQL's own yardstick, pgbench: one durable row a transaction, and its TPC-B-like transaction; prepared."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg

from bench import cpu
from bench.cells import BenchError, Cell, Part, Reading, counted
from bench.load.jobs import SETTLED, Tally
from bench.loader import Measured
from bench.readings import loop_readings
from bench.server import libpq_environment
from bench.world import World
from settlement.db.account import environment
from settlement.db.placement import installed_binaries

_TABLE = "create table durable_row (id bigint not null, amount_fen bigint not null)"
_INSERT = "\\set id random(1, 1000000000)\ninsert into durable_row (id, amount_fen) values (:id, 8620);\n"
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)
_LATENCY_COLUMN = 2  # of pgbench's log: client, transaction, microseconds, …
_THREADS_MAX = 2
_SETUP_S = 300.0
_GRACE_S = 60.0


@contextlib.asynccontextmanager
async def _open(world: World) -> AsyncIterator[Sequence[Cell]]:
    scale = world.options.pgbench_scale or world.options.most_clients
    async with world.server.database("pgbench") as dsn:
        world.say(f"pgbench: filling its tables, scale {scale}")
        await _pgbench(dsn, world.folder, "--initialize", "--quiet", f"--scale={scale}", timeout_s=_SETUP_S)
        connection = await asyncpg.connect(dsn)
        await connection.execute(_TABLE)
        await connection.close()
        script = world.folder / "insert.sql"
        await asyncio.to_thread(script.write_text, _INSERT, encoding="ascii")
        ways = {
            "insert": (f"--file={script}", "pgbench, one durable row a commit"),
            "tpcb": ("--builtin=tpcb-like", f"pgbench, TPC-B-like, scale {scale}"),
        }
        yield [
            Cell(
                key=f"pgbench.{way}/{clients}",
                title=f"{title}, {counted(clients, 'client')}",
                clients=clients,
                measure=functools.partial(_measure, world, dsn, option, clients),
            )
            for way, (option, title) in ways.items()
            for clients in world.options.clients
        ]


async def _measure(world: World, dsn: str, what: str, clients: int) -> list[Reading]:
    seconds, threads = max(1, round(world.options.seconds)), min(clients, _THREADS_MAX)
    with tempfile.TemporaryDirectory(dir=world.folder) as logs:
        before, own_before, began = cpu.sample(world.database_only()), _children_cpu_s(), time.monotonic()
        said = await _pgbench(
            dsn,
            Path(logs),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={threads}"),
            *(f"--time={seconds}", "--log", what),
            timeout_s=seconds + _GRACE_S,
        )
        own_s, after = _children_cpu_s() - own_before, cpu.sample(world.database_only())
        others = cpu.others_share(before, after, own_s, time.monotonic() - began)
        latencies_ms = await asyncio.to_thread(read_latencies_ms, Path(logs))
    tally = Tally(
        latencies_ms=latencies_ms,
        late_ms=[],
        outcomes={SETTLED: len(latencies_ms)},
        elapsed_s=len(latencies_ms) / parse_tps(said),  # its rate leaves out the time that connecting took
        cpu_s=own_s,
        begun=[],
        ran_out=False,
    )
    spent = after.since(before) | {"clients": own_s}
    return loop_readings(Measured(tally=tally, cpu_s=spent, others_share=others), "transaction", threads)


def parse_tps(said: str) -> float:
    """Transactions per second in pgbench's report. Raises ``BenchError`` for failed ones, or where there is none."""
    tps, failed = _TPS.search(said), _FAILED.search(said)
    if tps is None:
        raise BenchError("pgbench reported no rate")
    if failed is not None and int(failed[1]):
        raise BenchError(f"{failed[1]} transactions of pgbench failed")
    return float(tps[1])


def read_latencies_ms(folder: Path) -> list[float]:
    """The latency of every transaction, from the logs that pgbench left in a folder."""
    return [
        int(line.split()[_LATENCY_COLUMN]) / 1_000
        for log in folder.glob("pgbench_log.*")
        for line in log.read_text(encoding="ascii").splitlines()
    ]


async def _pgbench(dsn: str, folder: Path, *arguments: str, timeout_s: float) -> str:
    """Run it in a folder; what it said. Raises ``BenchError``."""
    process = await asyncio.create_subprocess_exec(
        installed_binaries() / "pgbench",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment(libpq_environment(dsn)),
    )
    try:
        async with asyncio.timeout(timeout_s):
            said, complaints = await process.communicate()
    except TimeoutError:
        raise BenchError(f"pgbench did not end within {timeout_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise BenchError(f"pgbench failed: {complaints.decode('utf-8', 'replace').strip().splitlines()[-1]}")
    return said.decode()


def _children_cpu_s() -> float:
    """CPU seconds of our children that have ended; while pgbench runs, no other one does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


PGBENCH = Part(name="pgbench", title="pgbench", open=_open)
