"""A person at the keyboard: the program on a terminal of its own, so that hidden prompts and Ctrl-C are real."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C = "\x03"
_TIMEOUT_S = 60
_UNSEEN_S = 5


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

    async def interrupt_question(self) -> int:
        """Press Ctrl-C at a question until it is seen, and wait for the end; the exit code.

        Python reads a line by a system call that a signal of the moment between the prompt and the call does not
        interrupt; a person who pressed that early presses again.
        """
        self.type(CTRL_C)
        return await self.end(CTRL_C)

    async def end(self, again: str = "") -> int:
        """Wait for the end; the exit code. ``again``: what to type whenever nothing is heard for a while."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                while await self._heard(again) and (piece := await asyncio.to_thread(self._read)):
                    self.seen += piece
                code = await asyncio.to_thread(self._process.wait)
        except TimeoutError:
            # Its end releases the thread that reads, which would hold up the end of the whole test run.
            self._process.kill()
            raise AssertionError(f"the program did not end: {self.seen}") from None
        os.close(self._master)
        return code

    def _read(self) -> str:
        try:
            return os.read(self._master, 65_536).decode(errors="replace")
        except OSError:  # Linux: the other side is closed
            return ""

    async def _heard(self, again: str) -> bool:
        while again and not (await asyncio.to_thread(select.select, [self._master], [], [], _UNSEEN_S))[0]:
            self.type(again)
        return True
