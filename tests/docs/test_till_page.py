"""The session on the till's page runs as it is printed, and the page's tables say what the code says."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.cli.billfile import read_bill
from terminal_sdk.cli.home import TillSettings
from terminal_sdk.cli.profiles import PROFILES
from terminal_sdk.cli.reference import PAGE, commands_page, exit_code_table
from tests.integration.till.keyboard import Keyboard
from tests.integration.till.test_settle import RESULT_KEYS
from tests.support.service import RunningService
from tests.support.tools import chinese_font, not_here

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide" / "till.md"
TERMINAL_ID = "TILL9002"
PIN = "123456"
VARIABLE = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"(TILL\d{4}-\d{14}-[0-9a-f]{16}|rev-[0-9a-f]{40})", "KEY"),
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\dZ?)?", "TIME"),
    (r"姓名 \S+", "NAME"),
    (r"\*+[0-9A-Z]{3,4}", "CARD"),
    (r"参考号 \d{12}", "REFERENCE"),
    (r"授权号 \w+", "AUTHORISATION"),
    (r"TILL\d{4}", "TERMINAL"),
    (r"便民药房|测试药房", "PHARMACY"),
    (r"\s+", " "),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def plain(line: str) -> str:
    for pattern, name in VARIABLE:
        line = re.sub(pattern, name, line)
    return line.strip()


def steps() -> list[tuple[str, list[str]]]:
    """Every command of the session and the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def text_of(pdf: Path) -> str:
    command = ["pdftotext", "-layout", str(pdf), "-"]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


async def run(words: list[str], printed: list[str], code: str, environment: dict[str, str]) -> list[str]:
    """One command with a person at it, who answers as the page does; the lines on the screen."""
    desk = Keyboard([sys.executable, "-m", "terminal_sdk.cli", *words], environment)
    answers = {"注册码:": code, "[y/N]:": "y", "银行卡密码:": PIN}
    for line in printed:
        for question, answer in answers.items():
            if question in line:
                await desk.until(question)
                desk.type(answer + "\n")
    await desk.end()
    assert PIN not in desk.seen
    assert code not in desk.seen
    return desk.seen.replace("\r", "").splitlines()


async def test_the_session_runs_as_it_is_printed(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chinese_font()
    if shutil.which("pdftotext") is None:
        not_here("needs pdftotext: apt-get install poppler-utils")
    card = await service.issue_card(current_year_fen=3_000, bank_fen=100_000)
    (tmp_path / "card.json").write_text(card.to_json(), encoding="utf-8")
    (bill,) = blocks("json")
    (tmp_path / "bill.json").write_text(bill.replace("ORDER-", f"{TERMINAL_ID}-"), encoding="utf-8")
    code = await service.register_terminal(TERMINAL_ID)
    environment = {**os.environ, "SETTLEMENT_TERMINAL_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    monkeypatch.chdir(tmp_path)
    ours: dict[str, str] = {}
    for command, printed in steps():
        if command.startswith("curl"):
            match = Match(mti="0200", pan=card.pan)
            await service.bank.add_fault(FaultSpec(action="drop_before_commit", bank=card.bank_code, match=match))
            continue
        line = command.replace("http://127.0.0.1:8080", service.base_url).replace("TILL0001", TERMINAL_ID)
        for theirs, own in {**ours, "ORDER-": f"{TERMINAL_ID}-"}.items():
            line = line.replace(theirs, own)
        seen = await run(shlex.split(line)[1:], printed, code, environment)
        for one, other in zip(
            re.findall(VARIABLE[0][0], "\n".join(printed)), re.findall(VARIABLE[0][0], "\n".join(seen)), strict=False
        ):
            ours.setdefault(one, other)
        rest = iter([plain(re.sub(rf"{TERMINAL_ID}-(\d)\b", r"ORDER-\1", each)) for each in seen])
        for each in printed:
            wanted = plain(each.partition("…")[0])
            assert any(row.startswith(wanted) for row in rest), f"{command}\n{each}\n" + "\n".join(seen)
    assert "223.70" in await asyncio.to_thread(text_of, tmp_path / "receipt.pdf")
    assert "补打".encode("gb18030") in (tmp_path / "roll.bin").read_bytes()
    assert await service.live_debits(card) == []
    assert await service.balances(card) == (3_000, 0)


def test_the_commands_page_is_as_the_help_texts_say() -> None:
    assert (ROOT / "docs" / "reference" / PAGE).read_text(encoding="utf-8") == commands_page()


def test_the_tables_say_what_the_code_says() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    assert "\n".join(exit_code_table()) in page
    section = page[page.index("## For programs") :]
    for key in RESULT_KEYS:
        assert re.search(rf"^\| .*`{key}`.* \|", section, re.MULTILINE), key
    for profile in PROFILES.values():
        for text in (profile.name, profile.header, profile.footer, profile.visit_type):
            assert text in page


def test_settings_and_bills_are_ones_that_are_taken() -> None:
    settings, bill = blocks("toml")
    assert msgspec.convert(tomllib.loads(settings), TillSettings).printer.cut
    assert read_bill(bill).lines[0].amount_fen == 2_450
    assert len(read_bill(blocks("json")[0]).lines) == 3
