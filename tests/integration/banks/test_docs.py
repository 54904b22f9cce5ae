"""The reference page: its example runs and prints what it says, and its tables agree with the code."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import get_args

from settlement.banks.codes import UNKNOWN_CODES
from settlement.banks.iso.spec import PATTERNS
from settlement.stubs.bankhost.wire import Action

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "bank-link.md").read_text("utf-8")


async def test_the_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    (said,) = re.findall(r"prints `(.*?)`", PAGE)
    assert said in output.decode().splitlines()


def test_every_field_and_fault_and_unknown_code_is_described() -> None:
    numbers = set(re.findall(r"\d+", "\n".join(re.findall(r"^\| ([\d, or]+) \|", PAGE, re.MULTILINE))))
    assert set(PATTERNS) - {"t"} == numbers
    assert all(f"`{action}`" in PAGE for action in get_args(Action))
    (row,) = re.findall(r"^\| (`68`.*?) \|", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(..)`", row)) == UNKNOWN_CODES
