"""The report: figures of all repeats, ratios, remarks, the JSON file and the table."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.cells import Cell, Reading
from bench.machine import Machine, Software, file_system_of
from bench.options import Options
from bench.ratios import PAIRS, ratios
from bench.remarks import remarks
from bench.report import FORMAT, Books, Figure, Problem, Report, figures, without_paths
from bench.table import print_report

MACHINE = Machine(cpu_model="a processor", cores=2, memory_mib=1024, system="Linux", data_on="ext4")


async def nothing() -> list[Reading]:
    return []


def cell(key: str) -> Cell:
    return Cell(key=key, title=f"title of {key}", measure=nothing)


def readings(rate: float, **others: float) -> list[Reading]:
    return [
        Reading(quantity="rate", value=rate, unit="settlements/s", title="throughput"),
        *(Reading(quantity=name, value=value, unit="CPU-ms/settlement") for name, value in others.items()),
    ]


def report(measured: list[Figure], *, problems: list[Problem] | None = None, books: Books | None = None) -> Report:
    return Report(
        format=FORMAT,
        started_at=dt.datetime(2026, 11, 24, tzinfo=dt.UTC),
        took_s=12.0,
        machine=MACHINE,
        software=Software(python="3", openssl="3", crypto="sm2=openssl", packages={"aiohttp": "3"}, git_commit=None),
        database={"server_version": "18.6", "fsync": "on", "synchronous_commit": "on"},
        options=Options(),
        order=[each.measurement for each in measured],
        figures=measured,
        ratios=ratios(measured),
        remarks=[],
        problems=problems or [],
        books=books,
    )


def test_figures_keep_every_repeat_and_say_which_has_none() -> None:
    cells = [cell("settle.account/8"), cell("never"), cell("broken")]
    results = {
        "settle.account/8": [readings(100.0, cpu_service=2.0), None, readings(80.0)],
        "broken": [None, None, None],
    }
    found = {(each.measurement, each.quantity): each for each in figures(cells, results)}
    assert set(found) == {("settle.account/8", "rate"), ("settle.account/8", "cpu_service")}
    rate = found["settle.account/8", "rate"]
    assert rate.values == [100.0, None, 80.0]
    assert (rate.minimum, rate.median, rate.maximum, rate.unit) == (80.0, 90.0, 100.0, "settlements/s")
    assert found["settle.account/8", "cpu_service"].values == [2.0, None, None]


def test_ratios_are_made_repeat_by_repeat_for_each_number_of_clients() -> None:
    cells = [cell("settle.account/1"), cell("settle.account/8"), cell("pgbench.tpcb/8"), cell("sm2")]
    results = {
        "settle.account/1": [readings(10.0), readings(10.0)],
        "settle.account/8": [readings(100.0, cpu_service=2.0), readings(50.0, cpu_service=4.0)],
        "pgbench.tpcb/8": [readings(400.0), readings(200.0)],
        "sm2": [[Reading(quantity="verify", value=2_000.0, unit="verifications/CPU-s")]] * 2,
    }
    found = {each.measurement: each for each in ratios(figures(cells, results))}
    assert set(found) == {"settle_over_tpcb/8", "sm2_share.account/8"}
    assert found["settle_over_tpcb/8"].values == [0.25, 0.25]
    assert found["sm2_share.account/8"].values == [25.0, 12.5]
    assert found["sm2_share.account/8"].unit == "%"
    assert all(each.derived for each in found.values())


def test_pairs_have_names_of_their_own() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)


def test_remarks_name_what_distorts() -> None:
    def one(quantity: str, value: float) -> Figure:
        reading = Reading(quantity=quantity, value=value, unit="%")
        return figures([cell("settle.bank/8")], {"settle.bank/8": [[reading]]})[0]

    assert (
        remarks([one("others", 9.0), one("client_share", 50.0), one("late_p99", 1.0), one("failed", 0.0)], MACHINE)
        == []
    )
    for quantity, value, expected in (
        ("others", 30.0, "others used up to 30 %"),
        ("client_share", 97.0, "the clients may have been the limit"),
        ("late_p99", 8.0, "the generator was late"),
        ("failed", 1.0, "1 operations of a repeat failed"),
        ("ran_out", 1.0, "ended early"),
    ):
        (said,) = remarks([one(quantity, value)], MACHINE)
        assert expected in said
        assert "settle.bank/8" in said
    (said,) = remarks([], msgspec.structs.replace(MACHINE, data_on="tmpfs"))
    assert "no commit was durable" in said


def test_the_file_reads_back_as_it_was_written() -> None:
    measured = figures([cell("settle.account/8")], {"settle.account/8": [readings(100.0)]})
    books = Books(settled_by_tills=3, settled_in_ledger=3, violations=0, lines=["0 violations"])
    written = report(measured, books=books)
    assert msgspec.json.decode(msgspec.json.encode(written), type=Report, strict=True) == written


@pytest.mark.parametrize(
    ("problems", "books", "good"),
    [
        ([], None, True),
        ([], Books(settled_by_tills=3, settled_in_ledger=3, violations=0, lines=[]), True),
        ([], Books(settled_by_tills=3, settled_in_ledger=4, violations=0, lines=[]), False),
        ([], Books(settled_by_tills=3, settled_in_ledger=3, violations=1, lines=[]), False),
        ([Problem(part="echo", measurement=None, message="no")], None, False),
    ],
)
def test_a_run_is_good_only_when_all_was_measured_and_the_books_agree(
    problems: list[Problem], books: Books | None, good: bool
) -> None:
    assert report([], problems=problems, books=books).good is good


def test_the_table_shows_units_spread_ratio_and_problems_whole() -> None:
    cells = [cell("settle.account/8"), cell("pgbench.tpcb/8")]
    results = {
        "settle.account/8": [readings(100.0), readings(5_432.1), readings(120.0)],
        "pgbench.tpcb/8": [readings(400.0), readings(400.0), readings(400.0)],
    }
    out = io.StringIO()
    problem = Problem(part="echo", measurement="echo/8", message="it broke")
    print_report(report(figures(cells, results), problems=[problem]), Console(file=out, width=40))
    text = out.getvalue()
    assert "…" not in text
    (line,) = [line for line in text.splitlines() if "0.30 × pgbench TPC-B-like" in line]
    assert [each.strip() for each in line.split("│")[1:6]] == ["throughput", "settlements/s", "120.0", "100.0", "5,432"]
    assert "settle (account only) ÷ pgbench TPC-B-like, 8 clients" in text
    assert "PROBLEM   echo, echo/8: it broke" in text


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("cannot open /home/someone/.data/bench/x.log: no", "cannot open …: no"),
        ("see http://127.0.0.1:8080/v1/settlements", "see http://127.0.0.1:8080/v1/settlements"),
        ("hold+capture: 3 of 4 operations failed", "hold+capture: 3 of 4 operations failed"),
        ("(/var/lib/settlement/abc/)", "(…)"),
    ],
)
def test_paths_of_the_machine_are_cut_out(message: str, shown: str) -> None:
    assert without_paths(message) == shown


def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    mounts = (
        "overlay / overlay rw 0 0\n"
        "tmpfs /data tmpfs rw 0 0\n"
        "/dev/sda /data/deep ext4 rw 0 0\n"
        "tmpfs /da tmpfs rw 0 0\n"
        "tmpfs /data/deep xfs rw 0 0\n"
    )
    assert file_system_of(Path("/data/deep/er"), mounts) == "xfs"
    assert file_system_of(Path("/data"), mounts) == "tmpfs"
    assert file_system_of(Path("/database"), mounts) == "overlay"
    assert file_system_of(Path("/data"), "") == "unknown"
