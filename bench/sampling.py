"""Sampling a running Python process from outside (py-spy), and what the samples say of its functions."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.cells import BenchError

RATE_HZ = 250
FUNCTIONS_SHOWN = 40
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^():]+)(?::\d+)?\)")
_PLUMBING = re.compile(r"^(asyncio/|runpy|<frozen|click/|uvloop/__init__|settlement/(__main__|cli/)|threading)")
"""Stands on every stack, or only hands on: says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One function: in what share of the samples it was on the stack (``inclusive``), and on its top (``own``)."""

    function: str
    inclusive: float
    own: float


@contextlib.contextmanager
def sampled(pids: Iterable[int]) -> Iterator[list[str]]:
    """Sample the first of these processes while the block runs; only threads that hold the interpreter's lock count.

    Yields a list that holds the stacks, one a line with its count, once the block is over. Raises ``BenchError`` where
    py-spy is missing or may not look at the process.
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        raise BenchError("py-spy is not installed: make dev")
    stacks: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stacks.txt"
        pid = next(iter(pids))
        command = [program, "record", "--pid", str(pid), "--rate", str(RATE_HZ), "--format", "raw", "--gil"]
        with subprocess.Popen(  # noqa: S603 - our own environment's program
            [*command, "--duration", "3600", "--output", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                yield stacks
            finally:
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
        if not path.exists():
            raise BenchError(f"py-spy saw nothing: {errors.decode(errors='replace').strip()[-200:]}")
        stacks += path.read_text(encoding="utf-8").splitlines()


def shares(stacks: Iterable[str]) -> list[Share]:
    """The functions of some stacks, those in most samples first; the interpreter's and asyncio's own left out."""
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    total = 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [_named(frame) for frame in stack.split(";")]
        total += int(count)
        own[frames[-1]] += int(count)
        inclusive.update({frame: int(count) for frame in frames})
    ranked = [
        Share(function=name, inclusive=count / total, own=own[name] / total)
        for name, count in inclusive.most_common()
        if not _PLUMBING.match(name.partition(" ")[0])
    ]
    return ranked[:FUNCTIONS_SHOWN]


def _named(frame: str) -> str:
    """``file function``, without the line: one function is one row."""
    match = _FRAME.fullmatch(frame)
    return f"{match['file']} {match['function']}" if match else frame
