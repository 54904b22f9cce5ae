"""Runs every Python block of the terminal maker's guides, in order, as one program each against a running service.

Needs the fixture ``service``: ``base_url``; ``await register_terminal(terminal_id)`` → enrolment code of a new terminal
of a pharmacy; ``await issue_card(current_year_fen=…, bank_fen=…)`` → ``CardImage`` of a registered third-generation
card, both functions active, PIN 123456.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Protocol

import pytest

from terminal_sdk import Reversed, Settled
from terminal_sdk.card import CardImage

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "terminal-maker.md"
PLAIN = GUIDE.with_name("terminal-maker-sync.md")
ROOT = GUIDE.parents[2]
KIT = ROOT / "terminal_sdk" / "README.md"
INSTALL = re.compile(r"""^\$ pip install (['"]?)\./(?P<home>\w+)(?:\[(?P<extras>[\w,]+)\])?\1(?:\s+#.*)?$""")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TERMINAL_ID = "YD000001"


class RunningService(Protocol):
    base_url: str

    async def register_terminal(self, terminal_id: str) -> str: ...

    async def issue_card(self, *, current_year_fen: int, bank_fen: int) -> CardImage: ...


async def run(source: str, line: int, names: dict[str, Any]) -> None:
    tree = ast.parse(source)
    ast.increment_lineno(tree, line)
    code = compile(tree, str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)  # noqa: S307  (the project's own guide)
    if inspect.iscoroutine(result):
        await result


async def test_the_guide_runs_as_it_stands(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = await service.issue_card(current_year_fen=4_000, bank_fen=100_000)
    (tmp_path / "card.json").write_text(image.to_json(), encoding="utf-8")
    text = GUIDE.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "guide"}
    for number, block in enumerate(BLOCK.finditer(text)):
        await run(block[1], text.count("\n", 0, block.start(1)), names)
        if number == 0:
            names["BASE_URL"] = service.base_url
            names["TERMINAL_ID"] = TERMINAL_ID
            names["ENROLMENT_CODE"] = await service.register_terminal(TERMINAL_ID)
    for paid in ("result", "second", "third", "by_key", "first_tap", "second_tap"):
        assert isinstance(names[paid], Settled), paid
    assert isinstance(names["undone"], Reversed)
    assert names["unknown"] == "SETTLEMENT_UNKNOWN"
    assert (tmp_path / "printer.bin").read_bytes().startswith(b"\x1b@")


async def test_the_plain_clients_page_runs_as_it_stands(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("card.json", "second-card.json"):
        image = await service.issue_card(current_year_fen=4_000, bank_fen=100_000)
        (tmp_path / name).write_text(image.to_json(), encoding="utf-8")
    text = PLAIN.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "guide"}
    for number, block in enumerate(BLOCK.finditer(text)):
        exec(compile("\n" * text.count("\n", 0, block.start(1)) + block[1], str(PLAIN), "exec"), names)  # noqa: S102
        if number == 0:
            names["BASE_URL"] = service.base_url
            names["TERMINAL_ID"] = "YD000002"
            names["ENROLMENT_CODE"] = await service.register_terminal("YD000002")
    assert isinstance(names["result"], Settled)
    assert isinstance(names["undone"], Reversed)


async def test_the_kits_own_page_settles_and_can_be_run_again(service: RunningService, tmp_path: Path) -> None:
    image = await service.issue_card(current_year_fen=1_000, bank_fen=100_000)
    (tmp_path / "card.json").write_text(image.to_json(), encoding="utf-8")
    (source,) = (block[1] for block in BLOCK.finditer(KIT.read_text(encoding="utf-8")))
    given = {"SERVICE": service.base_url, "TERMINAL": "YD000003", "CODE": await service.register_terminal("YD000003")}
    for ending in ("银行卡支付", "not paid: BILL_ALREADY_SETTLED"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", source),
            cwd=tmp_path,
            env=os.environ | given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert ending in output.decode()


def test_what_the_pages_install_is_there() -> None:
    found = []
    for page in (GUIDE, PLAIN, KIT, *GUIDE.parent.glob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            if "pip install" not in line or not line.startswith("$"):
                continue
            match = INSTALL.match(line)
            assert match, f"{page.name}: {line}"
            project = tomllib.loads((ROOT / match["home"] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            extras = set(match["extras"].split(",")) if match["extras"] else set()
            assert extras <= project["optional-dependencies"].keys(), f"{page.name}: {line}"
            found.append(page.name)
    assert {GUIDE.name, PLAIN.name, KIT.name} <= set(found)


def test_every_public_call_of_the_plain_client_has_an_example() -> None:
    from terminal_sdk import SyncTerminal

    code = "\n".join(block[1] for block in BLOCK.finditer(PLAIN.read_text(encoding="utf-8")))
    for name, _ in inspect.getmembers(SyncTerminal, callable):
        if not name.startswith("_"):
            assert re.search(rf"\b(SyncTerminal|terminal)\.{name}\(", code), name


def test_every_public_call_has_an_example() -> None:
    from terminal_sdk import Terminal

    code = "\n".join(block[1] for block in BLOCK.finditer(GUIDE.read_text(encoding="utf-8")))
    calls = [name for name, _ in inspect.getmembers(Terminal, callable) if not name.startswith("_")]
    assert "settle" in calls
    for name in calls:
        assert re.search(rf"\b[Tt]erminal\.{name}\(", code), name


@pytest.mark.parametrize("page", [GUIDE, PLAIN], ids=["terminal-maker", "terminal-maker-sync"])
def test_the_blocks_can_be_pasted_at_a_prompt(page: Path) -> None:
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        assert not re.search(r"\n\n+[ \t]", block[1]), "an empty line ends a block at Python's prompt"
