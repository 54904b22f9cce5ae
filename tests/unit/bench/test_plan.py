"""In which order things are measured, when patients arrive, and what pgbench says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cells import BenchError, Cell, Reading
from bench.parts import PARTS
from bench.parts.arrivals import poisson
from bench.parts.crypto import CRYPTO
from bench.parts.pgbench import parse_tps, read_latencies_ms
from bench.readings import per_core
from bench.runner import in_order, interleaved
from bench.server import libpq_environment, with_database

SAID = """transaction type: <builtin: TPC-B (sort of)>
latency average = 5.141 ms
number of failed transactions: {failed} (0.000%)
initial connection time = 12.3 ms
tps = 1555.938022 (without initial connection time)
"""


async def nothing() -> list[Reading]:
    return []


def test_repeats_are_interleaved() -> None:
    assert list(interleaved("AB", 3)) == [(0, "A"), (0, "B"), (1, "A"), (1, "B"), (2, "A"), (2, "B")]


def test_what_is_compared_runs_side_by_side() -> None:
    sizes: list[tuple[str, int | None]] = [("a", 1), ("a", 8), ("b", 1), ("b", 8), ("free", None)]
    cells = [
        (CRYPTO, Cell(key=f"{name}/{clients}", title="", clients=clients, measure=nothing)) for name, clients in sizes
    ]
    assert [cell.key for _, cell in in_order(cells)] == ["a/1", "b/1", "a/8", "b/8", "free/None"]


def test_parts_have_names_of_their_own() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)


def test_arrivals_are_the_same_for_the_same_seed() -> None:
    moments = poisson(50.0, 20.0, "1:account")
    assert moments == poisson(50.0, 20.0, "1:account")
    assert moments != poisson(50.0, 20.0, "2:account")
    assert moments == sorted(moments)
    assert moments[0] > 0
    assert moments[-1] < 20.0
    assert 900 < len(moments) < 1_100  # 1000 expected, 32 is one standard deviation; the seed is fixed


def test_there_is_always_an_arrival() -> None:
    assert poisson(0.001, 1.0, "1") == [0.5]


def test_pgbench_is_believed_only_without_failures() -> None:
    assert parse_tps(SAID.format(failed=0)) == 1555.938022
    with pytest.raises(BenchError, match="3 transactions"):
        parse_tps(SAID.format(failed=3))
    with pytest.raises(BenchError, match="no rate"):
        parse_tps("pgbench: error")


def test_the_latencies_of_all_of_pgbenchs_threads_are_read(tmp_path: Path) -> None:
    (tmp_path / "pgbench_log.77").write_text("0 1 2500 0 1543 1\n1 1 3000 0 1543 2\n", encoding="ascii")
    (tmp_path / "pgbench_log.77.1").write_text("2 1 500 0 1543 1\n", encoding="ascii")
    assert sorted(read_latencies_ms(tmp_path)) == [0.5, 2.5, 3.0]


def test_what_one_core_would_do_is_derived_from_the_cpu_of_one_settlement() -> None:
    readings = [
        Reading(quantity=f"cpu_{party}", value=value, unit="CPU-ms/settlement")
        for party, value in {"service": 2.0, "database": 5.0, "banks": 1.0, "clients": 100.0}.items()
    ]
    found = {each.quantity: each for each in per_core(readings, "settlement")}
    assert found["per_service_core"].value == 500.0
    assert found["per_core"].value == 125.0  # the clients are not part of the system
    assert all(each.derived for each in found.values())
    without_database = [each for each in readings if each.quantity != "cpu_database"]
    assert [each.quantity for each in per_core(without_database, "settlement")] == ["per_service_core"]


def test_addresses_for_libpqs_programs() -> None:
    embedded = "postgresql://settlement:p%40ss@/settlement?host=/var/run/x&port=5432"
    assert libpq_environment(embedded) == {
        "PGHOST": "/var/run/x",
        "PGPORT": "5432",
        "PGUSER": "settlement",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "settlement",
    }
    plain = with_database("postgresql://bench@db.example:6543/postgres", "other")
    assert libpq_environment(plain) == {
        "PGHOST": "db.example",
        "PGPORT": "6543",
        "PGUSER": "bench",
        "PGDATABASE": "other",
    }
