"""The whole load test as it is started, short and slow: it passes on a good service, and fails where it must."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import asyncpg

VOID = {"meta"}

BAD_USERS = """
from loadtest.plan import Kind, Wish
from loadtest.till_user import TillUser
from loadtest.users import HOSPITAL
from terminal_sdk import FeeLine


def no_bill(chance):
    line = FeeLine(line_no=1, item_code="X" * 40, item_name="too long a code", category="A", amount_fen=1)
    return Wish(lines=(line,))


class Hasty(TillUser):
    kind = Kind(name="hasty", letter="X", share=1, institution=HOSPITAL, compose=no_bill)
    weight = 1
"""


class WellFormed(HTMLParser):
    """Every element that is opened is closed, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opened and closed in one."""

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


async def start(dsn: str, report: Path, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest", "--database-url", dsn, "--report", str(report), "--drain", "60", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def finish(process: asyncio.subprocess.Process) -> str:
    output, _ = await process.communicate()
    return output.decode()


def summary_of(report: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    return summary


async def test_a_run_passes_and_its_figures_agree_with_each_other_and_the_ledger(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    dsn = await make_database()
    process = await start(dsn, tmp_path, "--duration", "6", "--rate", "6", "--tills", "6", "--shape", "ramp")
    output = await finish(process)
    assert process.returncode == 0, output
    assert "0 violations" in output
    assert "settled within" in output

    summary = summary_of(tmp_path)
    assert summary["passed"]
    assert summary["failures"] == []
    served = summary["generator"]["served"]
    assert served == summary["generator"]["planned"] > 5
    assert sum(summary["outcomes"]["first"].values()) == sum(summary["outcomes"]["final"].values()) == served
    assert sum(summary["generator"]["proofs"].values()) == served
    assert sum(each["arrived"] for each in summary["timeline"]) == served
    assert sum(each["settled"] for each in summary["timeline"]) == summary["settling"]["all"]["settled"]
    assert summary["books"]["tills"] == summary["books"]["ledger"]
    assert summary["drain_s"] is not None
    assert {"service", "banks", "database", "generator"} == set(summary["cpu"])
    calls = {each["name"]: each["calls"] for each in summary["operations"]}
    assert calls["settle"] == served

    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "select returned_fen > 0 as back, count(*) as bills, sum(bank_fen)::bigint as bank_fen from settlement"
        " where decision = 'forward' group by 1"
    )
    await connection.close()
    ledger = {("reversed" if row["back"] else "settled"): (row["bills"], row["bank_fen"]) for row in rows}
    assert ledger == {name: (each["bills"], each["bank_fen"]) for name, each in summary["books"]["tills"].items()}

    page = WellFormed()
    page.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "passed" in page.text
    assert str(served) in page.text
    assert "settle" in (tmp_path / "locust.html").read_text(encoding="utf-8")


async def test_an_altered_entry_of_the_ledger_fails_the_run(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    dsn = await make_database()
    process = await start(dsn, tmp_path, "--duration", "8", "--rate", "4", "--tills", "3", "--patients", "8")
    altered = await alter_one_posting(dsn, process)
    output = await finish(process)
    assert process.returncode == 2, output
    assert "FAILED verify account_balances: person " in output
    assert f"FAILED verify settled_parts: settlement {altered}" in output
    assert "FAILED settled_is_posted: " in output
    assert output.rstrip().splitlines()[-2].strip() == "NOT PASSED"
    assert not summary_of(tmp_path)["passed"]


async def alter_one_posting(dsn: str, process: asyncio.subprocess.Process) -> str:
    """While the load runs, add a fen to what an insurance account paid for a bill; the id of its settlement."""
    connection = await asyncpg.connect(dsn)
    try:
        while True:
            assert process.returncode is None, await finish(process)
            posting = await connection.fetchrow(
                "select x.tableoid::regclass::text as part_of, x.saga_id from transfer x"
                " join settlement s on s.person_id = x.person_id and s.settlement_id = x.saga_id"
                " where x.part = 'current_year' and s.decision = 'forward' and s.visit_no not in"
                " (select visit_no from settlement where returned_fen > 0) and s.terminal_id like 'LTP%' limit 1"
            )
            if posting is not None:
                break
            await asyncio.sleep(0.05)
        async with connection.transaction():  # the owner of a table may switch its own guards off
            await connection.execute(f"alter table {posting['part_of']} disable trigger user")
            await connection.execute(
                f"update {posting['part_of']} set amount_fen = amount_fen + 1"  # noqa: S608
                " where saga_id = $1 and part = 'current_year'",
                posting["saga_id"],
            )
            await connection.execute(f"alter table {posting['part_of']} enable trigger user")
        return str(posting["saga_id"])
    finally:
        await connection.close()


async def test_too_many_errors_fail_the_run(make_database: Callable[..., Awaitable[str]], tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text(BAD_USERS, encoding="utf-8")
    options = ("--users", str(tmp_path / "users.py"), "--duration", "2", "--rate", "3", "--tills", "1")
    process = await start(await make_database(), tmp_path / "report", *options)
    output = await finish(process)
    assert process.returncode == 2, output
    assert "FAILED errors: 100.00% of the bills were refused or failed; at most 1.00% may be" in output
    assert set(summary_of(tmp_path / "report")["outcomes"]["final"]) == {"error InvalidRequest"}


async def test_a_running_service_is_not_loaded_without_its_banks(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest", "--service", "http://127.0.0.1:1", "--report", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = await finish(process)
    assert process.returncode == 2
    assert "--service and --bank-host go together" in output
