"""The processes of a service with several workers, and tills that go on whatever happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from terminal_sdk.card import CardImage, VirtualCard
from tests.support.raw_terminal import Answer, RawTerminal, line, raw_terminal
from tests.support.service import RunningService

FINAL = frozenset({"settled", "declined", "reversed"})


def worker_pids(service: RunningService) -> list[int]:
    """The processes that the service's parent has now."""
    pid = service.process.pid
    return sorted(int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """The processes stand still (SIGSTOP) for as long as the block runs."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def till_at(service: RunningService, pid: int) -> AsyncIterator[RawTerminal]:
    """A till whose connection this worker accepted (the others stood still meanwhile); for one call at a time."""
    credentials = await service.enrolled()
    async with contextlib.AsyncExitStack() as stack:
        with stopped(*(each for each in worker_pids(service) if each != pid)):
            till = await stack.enter_async_context(raw_terminal(service.base_url, credentials))
        yield till


async def insist(till: RawTerminal, request: dict[str, Any], timeout_s: float = 60.0) -> Answer:
    """Ask under the same key until the answer is final, as a till does: through broken connections and refusals."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                answer = await till.call("POST", "/v1/settlements", request)
                if answer.status == 200 and answer.body["state"] in FINAL:
                    return answer
                assert answer.status in {202, 409, 500, 503, 504}, answer.body
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.05)


DEADLINE_MS = 8_000
"""A bill whose debit was never sent because a process died ends at its deadline; tests need not wait 150 s for it."""


class Tills:
    """Tills with a patient each, who pay bill after bill, 3.00 by insurance once and the rest by the bank."""

    def __init__(self, service: RunningService, *, amount_fen: int = 1_000, patience_s: float = 60.0) -> None:
        self._service = service
        self._amount_fen = amount_fen
        self._patience_s = patience_s
        self.images: list[CardImage] = []
        self.answers: list[Answer] = []

    async def serve(self, tills: int, bills: int, banks: tuple[str, ...] = ("ICBC", "SRCB")) -> None:
        """So many tills at once, so many bills each; returns when all answers are final.

        ``banks``: such as remember a refusal. At another, a debit that a dying process never sent is undone only after
        two days (``STATEMENT_AFTER``).
        """
        self.images = [
            await self._service.issue_card(current_year_fen=300, bank_fen=10_000_000, bank=banks[number % len(banks)])
            for number in range(tills)
        ]
        credentials = [await self._service.enrolled() for _ in range(tills)]
        async with asyncio.TaskGroup() as group:
            for image, each in zip(self.images, credentials, strict=True):
                group.create_task(self._serve_one(image, each, bills))

    async def _serve_one(self, image: CardImage, credentials: Any, bills: int) -> None:
        card = VirtualCard(image)
        async with raw_terminal(self._service.base_url, credentials) as till:
            for _ in range(bills):
                request = till.settlement(image, card, [line(self._amount_fen)], deadline_ms=DEADLINE_MS)
                self.answers.append(await insist(till, request, self._patience_s))

    async def check(self, *, bills: int, turned_back_most: int) -> None:
        """Every bill came to an end, no more failed to settle than were under way in a crash, and every settled one
        stands at its bank once, to the fen.
        """
        ends = Counter(answer.body["state"] for answer in self.answers)
        assert ends.total() == bills, ends
        assert bills - ends["settled"] <= turned_back_most, ends
        paid = sum([sum(await self._service.live_debits(image)) for image in self.images])
        assert paid == sum(
            answer.body["split"]["bank_fen"] for answer in self.answers if answer.body["state"] == "settled"
        )
