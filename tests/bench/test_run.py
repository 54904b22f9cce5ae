"""Whole runs, short: everything is measured and proved, and what fails is reported beside the rest."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import msgspec
import pytest

from bench.cells import BenchError, Cell, Part, Reading
from bench.options import Options
from bench.parts import PARTS
from bench.parts.crypto import CRYPTO
from bench.parts.double_entry import DOUBLE_ENTRY
from bench.parts.settle import SETTLE
from bench.report import Report
from bench.runner import run
from bench.server import Ground, look_at, prepared_ground
from bench.world import World
from settlement.db.errors import EmbeddedError
from tests.support.database import SERVER_VARIABLE

OWN_SERVER = not os.environ.get(SERVER_VARIABLE)
"""Whether the tests' server runs on this machine, so that its CPU can be read."""
ROOT = Path(__file__).resolve().parents[2]
TINY = Options(seconds=0.3, repeats=2, clients=(2,), rates=(20.0,), pgbench_scale=1)
CLIENT_QUANTITIES = {"rate", "p50", "p99", "cpu_clients", "client_share", "done", "failed", "elapsed"}


@pytest.fixture
def ground(database_url: str, tmp_path: Path) -> Ground:
    return Ground(url=database_url, folder=tmp_path, data=None)


async def test_the_servers_process_is_found(database_url: str) -> None:
    server = await look_at(database_url)
    if OWN_SERVER:
        assert server.postmaster is not None
        assert process_name(server.postmaster) == "postgres"
        assert process_name(parent(server.postmaster)) != "postgres"  # the postmaster itself, not a child of it


@pytest.mark.timeout(180)
def test_the_ground_is_an_own_server_and_nothing_of_it_is_left(open_tmp_path: Path) -> None:
    (open_tmp_path / "bench" / "run").mkdir(parents=True)
    leftover = open_tmp_path / "bench" / "run" / "of-a-killed-run"
    leftover.touch()
    bystander = open_tmp_path / "bystander"
    bystander.touch()
    with prepared_ground(open_tmp_path, None) as ground:
        assert not leftover.exists()
        assert ground.folder.is_dir()
        assert ground.data is not None
        assert (ground.data / "data" / "PG_VERSION").exists()
        assert asyncio.run(look_at(ground.url)).postmaster is not None
        with pytest.raises(EmbeddedError, match="in use"), prepared_ground(open_tmp_path, None):
            pass
        assert ground.folder.is_dir()
    assert not ground.data.exists()
    assert [path.name for path in open_tmp_path.iterdir() if path.name != "session.lock"] == ["bystander"]


async def test_databases_of_a_run_are_gone_afterwards(database_url: str) -> None:
    server = await look_at(database_url)
    async with server.database("trial") as dsn:
        connection = await asyncpg.connect(dsn)
        name = await connection.fetchval("select current_database()")
        assert name.startswith("bench_trial_")
        await connection.close()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(dsn)


def process_name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def ignore(_: str) -> None:
    """Nobody watches."""


@pytest.mark.timeout(400)
def test_a_run_measures_all_parts_in_turn_and_proves_the_books(database_url: str, tmp_path: Path) -> None:
    output = tmp_path / "report" / "bench.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--seconds=0.3", "--repeats=1", "--clients=2", "--rates=20"),
            *("--pgbench-scale=1", f"--data-dir={tmp_path}", f"--output={output}"),
        ],
        cwd=tmp_path,
        env=os.environ | {"SETTLEMENT_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = msgspec.json.decode(output.read_bytes(), type=Report, strict=True)
    assert report.good
    assert report.problems == []

    kinds = {name.partition("/")[0] for name in report.order}
    assert kinds == {
        *("policy", "sm2", "pgbench.insert", "pgbench.tpcb", "double_entry", "ledger.account", "ledger.bank", "echo"),
        *("settle.account", "settle.bank", "till.account", "arrivals.account", "arrivals.bank"),
    }
    found = {(each.measurement, each.quantity): each for each in report.figures}
    assert all(len(each.values) == 1 and None not in each.values for each in report.figures)
    assert all(each.unit for each in [*report.figures, *report.ratios])
    for name in report.order:
        if name not in {"sm2", "policy"}:
            expected = CLIENT_QUANTITIES - ({"elapsed"} if name.startswith("arrivals") else set())
            assert expected <= {quantity for measurement, quantity in found if measurement == name}
    for payment in ("account", "bank"):
        settle = {quantity for measurement, quantity in found if measurement == f"settle.{payment}/2"}
        assert {"cpu_service", "cpu_banks", "per_service_core"} <= settle
        if OWN_SERVER:
            assert {"cpu_database", "per_core"} <= settle
    assert {"planned", "late_p99", "client_share"} <= {
        quantity for measurement, quantity in found if measurement == "arrivals.bank/20-per-s"
    }
    assert {
        "settle_over_tpcb/2",
        "settle_over_echo/2",
        "ledger_over_double_entry/2",
        "sm2_share.account/2",
        "policy_share.account/2",
    } <= {each.measurement for each in report.ratios}

    assert report.books is not None
    measured = sum(
        value or 0
        for each in report.figures
        if each.quantity == "done" and each.measurement.startswith(("settle.", "till.", "arrivals."))
        for value in each.values
    )
    assert report.books.settled_by_tills == report.books.settled_in_ledger
    assert report.books.settled_by_tills > measured > 0  # those of warming up are in the books, too
    assert report.database["fsync"] == "on"
    assert report.software.packages["aiohttp"]

    text = output.with_suffix(".txt").read_text(encoding="utf-8")
    assert "settle over HTTP, account only, 2 tills" in text
    assert "0 violations" in text
    for content in (output.read_text(encoding="utf-8"), text):
        assert str(tmp_path) not in content
        assert str(ROOT) not in content
    assert [path.name for path in tmp_path.iterdir()] == ["report"]  # nothing else is left behind


def failing(name: str, at: str) -> Part:
    """A part that fails at ``open``, ``measure`` or ``close``."""

    @contextlib.asynccontextmanager
    async def opened(_: World) -> AsyncIterator[Sequence[Cell]]:
        if at == "open":
            raise BenchError("cannot come up: /home/somebody/file is missing")

        async def measure() -> list[Reading]:
            if at == "measure":
                raise BenchError("cannot measure")
            return [Reading(quantity="rate", value=1.0, unit="things/s", title="throughput")]

        yield [Cell(key=name, title=name, measure=measure)]
        if at == "close":
            raise BenchError("the books are wrong")

    return Part(name=name, title=name, open=opened)


@pytest.mark.parametrize("at", ["open", "measure", "close"])
async def test_a_part_that_fails_is_a_problem_and_the_others_are_measured(ground: Ground, at: str) -> None:
    report = await run(TINY, ground, ignore, [failing("broken", at), failing("whole", "never"), DOUBLE_ENTRY])
    (problem,) = report.problems
    assert problem.part == "broken"
    assert problem.measurement == ("broken" if at == "measure" else None)
    assert "/home" not in problem.message
    assert not report.good
    values = {each.measurement: each.values for each in report.figures if each.quantity == "rate"}
    assert values["whole"] == [1.0, 1.0]
    assert None not in values["double_entry/2"]
    assert ("broken" in values) is (at == "close")


async def test_only_the_chosen_parts_run(ground: Ground) -> None:
    report = await run(msgspec.structs.replace(TINY, only=("crypto",)), ground, ignore)
    assert report.order == ["sm2"]
    assert report.books is None
    assert report.good
    assert CRYPTO in PARTS


def tampering() -> Part:
    """Takes a fen from one posted transfer, as nobody can through the service."""

    @contextlib.asynccontextmanager
    async def opened(world: World) -> AsyncIterator[Sequence[Cell]]:
        async def measure() -> list[Reading]:
            assert world.city is not None
            async with world.city.stand.base.pool.acquire() as connection, connection.transaction():
                await connection.execute("alter table transfer disable trigger user")
                await connection.execute(
                    """update transfer set amount_fen = amount_fen - 1
                       where debit_account = 'person/current_year'
                         and saga_id = (select min(settlement_id::text)::uuid from settlement)"""
                )
                await connection.execute("alter table transfer enable trigger user")
            return [Reading(quantity="rate", value=1.0, unit="things/s")]

        yield [Cell(key="tamper", title="tamper", measure=measure)]

    return Part(name="tamper", title="tamper", open=opened)


@pytest.mark.timeout(200)
async def test_a_run_whose_books_do_not_agree_is_not_good(ground: Ground) -> None:
    options = msgspec.structs.replace(TINY, repeats=1)
    report = await run(options, ground, ignore, [SETTLE, tampering()])
    assert [problem.part for problem in report.problems] == ["books"]
    assert report.books is not None
    assert report.books.violations > 0
    assert report.books.settled_by_tills == report.books.settled_in_ledger > 0
    assert any(line.startswith("VIOLATION") for line in report.books.lines)
    assert not report.good
