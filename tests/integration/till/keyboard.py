"""A person at the keyboard: the program on a terminal of its own, so that hidden prompts and Ctrl-C are real."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C = "\x03"
_TIMEOUT_S = 60


class Keyboard:
    """One run of a program on a pseudo-terminal. ``seen``: all that the screen showed so far."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        self._process = subprocess.Popen(
            # A session's leader that opens a terminal makes it its own: then /dev/tty and Ctrl-C work.
            ["sh", "-c", 'exec "$@" < "$0"', os.ttyname(slave), *map(str, command)],
            env=dict(environment),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    async def until(self, text: str) -> None:
        """Wait until the screen has shown this since the last key stroke."""
        start = len(self.seen)
        async with asyncio.timeout(_TIMEOUT_S):
            while text not in self.seen[start:]:
                piece = await asyncio.to_thread(self._read)
                assert piece, f"the program ended without showing {text!r}: {self.seen}"
                self.seen += piece

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    async def end(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(_TIMEOUT_S):
            while piece := await asyncio.to_thread(self._read):
                self.seen += piece
            code = await asyncio.to_thread(self._process.wait)
        os.close(self._master)
        return code

    def _read(self) -> str:
        try:
            return os.read(self._master, 65_536).decode(errors="replace")
        except OSError:  # Linux: the other side is closed
            return ""
