"""The page about the turn of the insurance year: its commands are run in order, and answer what it says."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from settlement.bootstrap import open_base, prepare_installation
from settlement.businessdate import SHANGHAI
from settlement.cli.main import main
from settlement.clock import SystemClock
from settlement.config import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "year-turn.md").read_text(encoding="utf-8")
TODAY = SystemClock().now().astimezone(SHANGHAI).date()
YEAR = str(TODAY.year - ((TODAY.month, TODAY.day) < (7, 1)))


async def test_the_commands_answer_what_the_page_says(
    make_database: Callable[[], Awaitable[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    digests = set(re.findall(r"SHA-256 (\w+)", PAGE))
    assert digests == {hashlib.sha256(file.encode()).hexdigest()}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "credits.csv").write_text(file, encoding="utf-8")
    settings = Settings(database_url=await make_database(), data_dir=tmp_path, db_pool_min=0, db_pool_max=1)
    prepare_installation(settings, SystemClock())
    async with open_base(settings) as base:
        numbers = [row.split(",")[0] for row in file.splitlines()[1:]]
        for number, fen in zip([*numbers, "31010119881111402X"], (10_000, 6_000, 530), strict=True):
            person = await base.cards.register_person("张建国", number)
            await base.cards.credit(person, "current_year", fen, base.ids.uuid(), "test")
    ran = 0
    for block in re.findall(r"```\n(\$ settlement .*?)```", PAGE, re.DOTALL):
        command, _, answer = block.replace("2026", YEAR).partition("\n")
        arguments = shlex.split(command)[2:]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, obj=settings, catch_exceptions=False)
        assert (result.exit_code, result.stdout) == (0, answer)
        ran += 1
    assert ran == 4
