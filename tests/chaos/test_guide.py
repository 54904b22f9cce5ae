"""The guide to the chaos run: its command lines are ones the program takes, and its tables leave nothing out."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

from chaos.__main__ import main
from chaos.judge import Verdict
from chaos.run import Options
from chaos.schedule import KILLS, LINK_FAULTS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide" / "chaos.md").read_text(encoding="utf-8")
MAKE = re.compile(r'^\$ make chaos(?: ARGS="(.*)")?$', re.MULTILINE)
COMMAND = re.compile(r"^\$ python -m chaos(.*)$", re.MULTILINE)


def test_every_command_line_of_the_guide_is_one_the_program_takes() -> None:
    lines = [*MAKE.findall(GUIDE), *COMMAND.findall(GUIDE)]
    assert len(lines) >= 4
    for line in lines:
        main.make_context("chaos", shlex.split(line))


def test_every_option_is_in_the_guides_table_and_is_an_option_of_a_run() -> None:
    options = {name for parameter in main.params for name in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)`", GUIDE)) - {"--help"} == options - {"--report"}
    assert set(Options.__dataclass_fields__) <= {parameter.name for parameter in main.params}


def test_every_blow_and_every_finding_is_explained() -> None:
    for name in (*KILLS, "pause_worker", *(f"link {fault}" for fault in LINK_FAULTS)):
        assert f"| `{name}` |" in GUIDE
    for check in (field.name for field in dataclasses.fields(Verdict)):
        assert re.search(rf"`(FAILED )?{check}`", GUIDE), check


def test_make_chaos_runs_the_program() -> None:
    assert "$(BIN)/python -m chaos" in (ROOT / "Makefile").read_text(encoding="utf-8")
