"""The newcomer's till runs as it is printed, and every command line in the documentation is one the programs take."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from settlement.cli.main import main as settlement
from terminal_sdk.cli import main as settlement_terminal
from tests.support.service import RunningService

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide" / "newcomer.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS: dict[str, click.Command] = {"settlement": settlement, "settlement-terminal": settlement_terminal}
BLOCK = re.compile(r"^```(?:console|sh|bash)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^(\$ )?(settlement(?:-terminal)? .*)$", re.MULTILINE)


async def run_till(folder: Path, order: str, typed: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "till.py",
        order,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(typed.encode())
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_newcomers_till_runs_as_printed(service: RunningService, tmp_path: Path) -> None:
    program = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert program
    source = program[1]
    # The tutorial's own numbers belong to the tutorial's own installation; here the service is another one.
    for printed, ours in (("http://127.0.0.1:8080", service.base_url), ("TILL0001", "TILL9001")):
        assert printed in source
        source = source.replace(printed, ours)
    (tmp_path / "till.py").write_text(source, encoding="utf-8")
    card = await service.issue_card(current_year_fen=3_000, bank_fen=100_000)
    (tmp_path / "card.json").write_text(card.to_json(), encoding="utf-8")

    first = await run_till(tmp_path, "NEWCOMER-1", await service.register_terminal("TILL9001") + "\n")
    assert "the bank account would pay 19370 fen\nSettled TILL9001-" in first
    for line in (r"当年账户支付 +30\.00", r"银行卡支付 +193\.70", r"其中自费\(丙类\) +168\.00"):
        assert re.search(line, first), first
    second = await run_till(tmp_path, "NEWCOMER-2")
    assert "the bank account would pay 22370 fen\nSettled" in second
    again = await run_till(tmp_path, "NEWCOMER-1")
    assert "Refused" in again
    assert sorted(await service.live_debits(card)) == [19_370, 22_370]


def command_lines() -> Iterator[tuple[str, str]]:
    """Page and command line, for every line in the documentation that calls one of the two programs."""
    for page in PAGES:
        if page.name == "commands.md":  # made from the help texts, and held equal to them by a test of its own
            continue
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            found = LINE.findall(block[1])
            prompts = any(prompt for prompt, _ in found)  # then lines without one are output
            for prompt, line in found:
                if prompt or not prompts:
                    yield str(page.relative_to(ROOT)), re.sub(r"\s+(&|#).*$", "", line)


LINES = sorted(set(command_lines()))


def test_command_lines_are_found() -> None:
    assert len(LINES) > 25


@pytest.mark.parametrize(("page", "line"), LINES)
def test_every_command_line_is_one_the_program_takes(page: str, line: str) -> None:
    name, *words = shlex.split(line)
    command: click.Command = PROGRAMS[name]
    # Without help options: click keeps the first one made of a command, and the pages of help texts want their own.
    context = click.Context(command, info_name=name, help_option_names=[])
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        child = command.get_command(context, words[0])
        assert child is not None, f"{page}: {line}"
        context = click.Context(child, parent=context, info_name=words.pop(0))
        command = child
    words = [word for word in words if word not in ("--help", "-h")]
    command.make_parser(context).parse_args(words)  # raises for an option that does not exist or lacks its value
