"""The whole chaos run as it is started, short: it passes on a good service, and fails where the books were altered."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.schedule import KILLS
from tests.loadtest.test_run import WellFormed, finish

SHORT = (
    *("--seconds", "15", "--rate", "2", "--tills", "3", "--services", "1", "--every", "2", "--patience", "2"),
    *("--recovery", "90", "--seed", "2876"),
)
"""This seed begins with a kill of each kind: worker, bank host, database, and the service as a whole."""

ALTERED = """
import asyncio, sqlite3, sys
from pathlib import Path

import uvloop

import chaos
from chaos.report import print_report
from chaos.run import Options, run
from chaos.verdict import summary
from rich.console import Console


async def ledger(site):
    pool = site.stand.base.pool
    found = await pool.fetchrow(
        "select tableoid::regclass::text as part_of, settlement_id from settlement"
        " where decision = 'forward' and returned_fen = 0 and bank_fen > 0 limit 1"
    )
    await pool.execute(f"alter table {found['part_of']} disable trigger user")
    await pool.execute(
        f"update {found['part_of']} set returned_fen = bill_fen where settlement_id = $1", found["settlement_id"]
    )
    await pool.execute(f"alter table {found['part_of']} enable trigger user")


async def bank(site):
    for path in sorted(site.stand.folder.glob("banks-*/*.sqlite3")):
        with sqlite3.connect(path) as books:
            found = books.execute(
                "select id, pan, amount_fen from operation o where kind = 'debit' and moved_fen > 0"
                " and not exists (select 1 from operation u where u.original_id = o.id)"
            ).fetchone()
            if found is None:
                continue
            for guard in ("operation_kept_d", "entry_kept_d"):
                books.execute(f"drop trigger {guard}")
            books.execute("delete from entry where operation_id = ?", found[:1])
            books.execute("delete from operation where id = ?", found[:1])
            books.execute("update account set balance_fen = balance_fen + ? where pan = ?", (found[2], found[1]))
            return
    raise SystemExit("no debit to remove")


options = Options(seconds=8, rate=2, seed=1, every_s=2, patience_s=2, tills=3, services=1, workers=1, recovery_s=90)
found = uvloop.run(run(options, Path(sys.argv[2]), lambda text, total: lambda more: None, globals()[sys.argv[1]]))
print_report(summary(found), Console(width=200))
"""


async def start(*command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


def summary_of(report: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((report / "chaos.json").read_text(encoding="utf-8"))
    return summary


@pytest.mark.timeout(300)
async def test_a_short_run_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    output = await finish(process := await start("-m", "chaos", *SHORT, "--report", str(tmp_path)))
    assert process.returncode == 0, output
    assert "lost 0, doubled 0" in output
    assert "0 violations" in output

    summary = summary_of(tmp_path)
    assert summary["passed"]
    assert summary["failures"] == []
    assert set(summary["kills"]) == set(KILLS)
    assert all(summary["kills"].values()), summary["events"]
    assert summary["settlements"] == sum(summary["states"].values())
    assert set(summary["states"]) <= {"settled", "declined", "reversed"}
    assert summary["states"]["settled"] == summary["till_words"]["settled"] > 5
    assert summary["in_doubt"]["resolved"] == summary["in_doubt"]["messages"]
    assert summary["recovery_s"] is not None
    struck = sum(summary["blows"]["struck"].values())
    told = [event for event in summary["events"] if event["what"] == "killed"]
    assert len(told) == sum(summary["kills"].values()) <= struck <= summary["blows"]["planned"]

    page = WellFormed()
    page.feed((tmp_path / "chaos.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "kill_database" in page.text
    assert "lost 0, doubled 0" in page.text
    assert "settle" in (tmp_path / "locust.html").read_text(encoding="utf-8")


@pytest.mark.deep
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("altered", "named"),
    [
        ("ledger", ("FAILED lost: ", "told settled", "FAILED settled_in_ledger: ", "FAILED sums: ", "FAILED verify ")),
        ("bank", ("FAILED bank_differs: ", "FAILED account_sums: ", "FAILED verify bank_books: ")),
    ],
)
async def test_altered_books_fail_the_run(tmp_path: Path, altered: str, named: tuple[str, ...]) -> None:
    (tmp_path / "altered.py").write_text(ALTERED, encoding="utf-8")
    output = await finish(await start(str(tmp_path / "altered.py"), altered, str(tmp_path / "site")))
    assert "NOT PASSED" in output
    for words in named:
        assert words in output
