"""A till that stops at one place, to be killed there: ``halting_till.py CLIENT STAGE FOLDER BASE_URL``.

CLIENT is ``async`` or ``plain``. It settles one bill up to that place, says ``halted`` and stands still for ever.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from terminal_sdk import Credentials, FeeLine, Journal, Settled, SyncTerminal, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader

CLIENT, STAGE, FOLDER, BASE_URL = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
SETTLE: dict[str, Any] = {
    "bank_ceiling_fen": 0,
    "idempotency_key": "order-77-attempt-1",
    "visit_no": "ORDER-77",
    "visit_type": "pharmacy",
    "service_date": dt.date(2019, 1, 2),
    "lines": [FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=3_000)],
}


def halt() -> NoReturn:
    sys.stdout.write("halted\n")
    sys.stdout.flush()
    threading.Event().wait()
    raise AssertionError


class HaltingJournal(Journal):
    """Stands still before or after one of its writes."""

    def mark_sent(self, key: str, at: dt.datetime) -> None:
        self._around("prepared", "sent", lambda: super(HaltingJournal, self).mark_sent(key, at))

    def answer(self, *args: Any, **named: Any) -> None:
        self._around("answered", "journalled", lambda: super(HaltingJournal, self).answer(*args, **named))

    def mark_handed_out(self, key: str, at: dt.datetime) -> bool:
        if STAGE == "printed":
            halt()
        return super().mark_handed_out(key, at)

    def _around(self, before: str, after: str, write: Callable[[], None]) -> None:
        if before == STAGE:
            halt()
        write()
        if after == STAGE:
            halt()


def arguments() -> dict[str, Any]:
    own = Credentials.load(FOLDER / "terminal.json")
    journal = HaltingJournal(FOLDER / "till.sqlite", terminal_id=own.terminal_id, key=own.key)
    return {
        "base_url": BASE_URL,
        "terminal_id": own.terminal_id,
        "key": own.key,
        "certificate": own.certificate,
        "journal": journal,
    }


def card() -> CardSession:
    return CardSession(VirtualReader(VirtualCard(CardImage.load(FOLDER / "card.json"))))


def print_it(text: str) -> None:
    with (FOLDER / "roll.txt").open("a", encoding="utf-8") as roll:
        roll.write(text)


async def asynchronous() -> None:
    async with Terminal(**arguments()) as terminal:
        with card() as session:
            result = await terminal.settle(card=session, **SETTLE)
        if isinstance(result, Settled):
            print_it((await result.receipt()).text)
        await terminal.mark_handed_out(result)


def plain() -> None:
    with SyncTerminal(**arguments()) as terminal:
        with card() as session:
            result = terminal.settle(card=session, **SETTLE)
        if isinstance(result, Settled):
            print_it(terminal.receipt(result, text=True))
        terminal.mark_handed_out(result)


if CLIENT == "async":
    asyncio.run(asynchronous())
else:
    plain()
