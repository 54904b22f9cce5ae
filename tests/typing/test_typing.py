"""The kit's types are part of its interface: right code passes, wrong code is refused, line by line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SNIPPETS = Path(__file__).parent / "snippets"
MARK = re.compile(r"# E: ([a-z, -]+)$")
ERROR = re.compile(r"^(?:.*[/\\])?(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", re.MULTILINE)


def mypy(snippet: Path, cache: Path) -> tuple[dict[int, set[str]], str]:
    """Line → error codes that mypy gives for a snippet, and all that it says. ``cache``: what it knows of the kit."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache), str(snippet)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cache)
    found: dict[int, set[str]] = {}
    for name, line, code in ERROR.findall(done.stdout):
        if name == snippet.name:
            found.setdefault(int(line), set()).add(code)
    return found, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["right", "wrong"])
def test_a_snippet_is_judged_as_it_says(name: str, cache: Path) -> None:
    snippet = SNIPPETS / f"{name}.py"
    marks = {
        number: set(re.split(r",\s*", match[1]))
        for number, line in enumerate(snippet.read_text("utf-8").splitlines(), start=1)
        if (match := MARK.search(line))
    }
    assert bool(marks) == (name == "wrong")
    found, said = mypy(snippet, cache)
    assert found == marks, said
