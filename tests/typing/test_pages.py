"""The programs in the kit's pages type-check strictly, so that a till maker who copies them begins without an error."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from tests.typing.test_typing import mypy

ROOT = Path(__file__).parents[2]
PAGES = ("docs/guide/terminal-maker.md", "docs/guide/terminal-maker-sync.md", "terminal_sdk/README.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(text: str) -> str:
    """The blocks of a page, each line where the page has it; in a coroutine if they await at the top."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        lines[first : first + block[1].count("\n")] = block[1].splitlines()
    source = "\n".join(lines) + "\n"
    if any(isinstance(node, ast.Await | ast.AsyncWith) for node in ast.walk(ast.parse(source))):
        return "async def page() -> None:\n" + textwrap.indent(source.removeprefix("\n"), "    ")
    return source


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_program_type_checks(page: str, cache: Path, tmp_path: Path) -> None:
    snippet = tmp_path / "page.py"
    snippet.write_text(program((ROOT / page).read_text(encoding="utf-8")), encoding="utf-8")
    found, said = mypy(snippet, cache)
    assert found == {}, said
    assert "Success: no issues found" in said, said
