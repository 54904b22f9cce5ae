"""The load tester's guide: each command line in it is one the program takes, and its user classes run as printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.run import Options
from tests.loadtest.test_run import finish, start, summary_of

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide" / "load-tester.md").read_text(encoding="utf-8")
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r'^\$ make loadtest(?: ARGS="(.*)")?$', re.MULTILINE)
COMMAND = re.compile(r"^\$ python -m loadtest(.*)$", re.MULTILINE)


def test_every_command_line_of_the_guide_is_one_the_program_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kiosk.py").touch()
    lines = [*MAKE.findall(GUIDE), *COMMAND.findall(GUIDE)]
    assert len(lines) >= 7
    for line in lines:
        main.make_context("loadtest", shlex.split(line))


def test_every_option_in_the_guides_table_exists_and_is_an_option_of_a_run() -> None:
    options = {name for parameter in main.params for name in parameter.opts}
    told = set(re.findall(r"`(--[a-z-]+)`", GUIDE)) - {"--help"}
    assert told <= options
    assert {"--rate", "--shape", "--seed", "--keep"} <= told
    fields = {"profile", "users", *(parameter.name for parameter in main.params)}
    assert set(Options.__dataclass_fields__) <= fields


def test_make_loadtest_runs_the_program() -> None:
    assert "\tpython -m loadtest".replace("\t", "$(BIN)/") in (ROOT / "Makefile").read_text(encoding="utf-8")


async def test_the_guides_user_classes_run_as_printed(
    make_database: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    program = PROGRAM.search(GUIDE)
    assert program
    (tmp_path / "kiosk.py").write_text(program[1], encoding="utf-8")
    options = ("--users", str(tmp_path / "kiosk.py"), "--duration", "3", "--rate", "5", "--tills", "2")
    process = await start(await make_database(), tmp_path / "report", *options)
    output = await finish(process)
    assert process.returncode == 0, output
    summary = summary_of(tmp_path / "report")
    assert {"till: kiosk", "till: desk"} <= set(summary["settling"])
    assert "status by id" in {each["name"] for each in summary["operations"]}
