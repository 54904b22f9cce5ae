"""A till as a terminal maker has it: the program in processes of its own, a folder, cards in files."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from settlement.stubs.bankhost.frame_log import mask_pan
from terminal_sdk.card import CardImage
from tests.integration.till.keyboard import Keyboard
from tests.support.service import HOSPITAL, PHARMACY, RunningService
from tests.support.warm_program import WarmProgram, warm_program

PIN = "123456"
LINE = "86900001:阿莫西林胶囊:A:10.00"
COMMAND = [sys.executable, "-W", "error", "-m", "terminal_sdk.cli"]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class TillProgram:
    """``settlement-terminal`` with a folder and a card of its own."""

    service: RunningService
    warm: WarmProgram
    home: Path
    card: CardImage
    card_file: Path
    terminal_id: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def at_keyboard(self, *arguments: str | Path) -> Keyboard:
        """Begin a run with a person at it."""
        return Keyboard([*COMMAND, *arguments], self._environment())

    async def start(self, *arguments: str | Path) -> asyncio.subprocess.Process:
        """Begin a run, to be watched or killed."""
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            *map(str, arguments),
            env=self._environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # no terminal: a hidden prompt is refused
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SETTLEMENT_TERMINAL_HOME": str(self.home), **self.environment}

    async def run(self, *arguments: str | Path, typed: str = "") -> Done:
        """One run to its end: forked off if its start is not what the test is about, which is quicker."""
        if self.environment.keys() - {"CODE"}:
            return await finished(await self.start(*arguments), typed)
        code, out, err = await self.warm.run([str(each) for each in arguments], self._environment(), typed.encode())
        return judged(code, out, err)

    async def settle(self, visit: str, *arguments: str | Path, typed: str = PIN + "\n", line: str = LINE) -> Done:
        """Settle one line with the card, agreed to beforehand; the PIN comes by standard input."""
        given = ("--visit", self.visit(visit), "--line", line, "--card", self.card_file, "--yes", "--pin-stdin")
        return await self.run("settle", *given, *arguments, typed=typed)

    def visit(self, number: str) -> str:
        """A visit number of this till's own: bills of one institution share their numbers."""
        return f"{self.terminal_id}-{number}"

    def attempts(self) -> list[tuple[str, str, str]]:
        """Key, operation and state of every attempt in the journal."""
        journal = self.home / "journal.sqlite"
        if not journal.exists():
            return []
        with contextlib.closing(sqlite3.connect(journal)) as db:
            if not db.execute("select 1 from sqlite_master where name = 'attempt'").fetchone():
                return []
            return db.execute("select idempotency_key, operation, state from attempt").fetchall()

    async def until_sent(self) -> str:
        """The key of an attempt that has been sent and has no answer, as soon as there is one."""
        async with asyncio.timeout(60):
            while True:
                for key, _, state in self.attempts():
                    if state == "sent":
                        return key
                await asyncio.sleep(0.02)

    async def until_at_the_bank(self) -> str:
        """The key of the attempt whose debit the card's bank has heard: a kill before that may leave no doubt."""
        assert self.card.bank_code is not None
        assert self.card.pan is not None
        masked = mask_pan(self.card.pan)
        key = await self.until_sent()
        async with asyncio.timeout(60):
            while not any(row.pan == masked for row in await self.service.bank_log(self.card.bank_code)):
                await asyncio.sleep(0.02)
        return key


async def finished(process: asyncio.subprocess.Process, typed: str = "") -> Done:
    """Wait for a run."""
    out, err = await process.communicate(typed.encode())
    assert process.returncode is not None
    return judged(process.returncode, out, err)


def judged(code: int, out: bytes, err: bytes) -> Done:
    """What a run said, which is no stack trace and nobody's secret."""
    done = Done(code, out.decode(), err.decode())
    assert "Traceback" not in done.out + done.err, done.err
    assert PIN not in done.out + done.err
    return done


NewTill = Callable[..., Awaitable[TillProgram]]


@pytest.fixture(scope="session")
async def warm() -> AsyncIterator[WarmProgram]:
    """``settlement-terminal``, ready to be forked."""
    async with warm_program() as program:
        yield program


@pytest.fixture
def new_till(service: RunningService, warm: WarmProgram, tmp_path: Path) -> NewTill:
    """``await new_till(profile="pharmacy", current_year_fen=…, bank_fen=…)`` → an enrolled till with a card."""

    async def make(*, profile: str = "pharmacy", enrol: bool = True, **card: Any) -> TillProgram:
        number = next(_numbers)
        image = await service.issue_card(**card)
        card_file = tmp_path / f"card-{number}.json"
        card_file.write_text(image.to_json(), encoding="utf-8")
        till = TillProgram(service, warm, tmp_path / f"home-{number}", image, card_file, f"TILL{number:04d}")
        code = await service.register_terminal(till.terminal_id, PHARMACY if profile == "pharmacy" else HOSPITAL)
        if enrol:
            done = await till.run(
                *("enrol", "--service", service.base_url, "--terminal", till.terminal_id),
                *("--profile", profile, "--code-stdin"),
                typed=code + "\n",
            )
            assert done.code == 0, done.err
        else:
            till.environment["CODE"] = code
        return till

    return make
