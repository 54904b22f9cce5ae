"""After the faults: the tills start again, work off their journals, and are held against the service."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chaos.words import TillWord, Words, read_words
from loadtest.stand import Stand
from loadtest.tills import Till, open_tills
from loadtest.visits import Visit, outcome_of
from terminal_sdk import Credentials, NotYetKnown, RequestRefused, Reversed, Terminal, TerminalError

T = TypeVar("T")

_POLL_S = 0.2
_ROUND_S = 20.0
_ASK_S = 10.0
_SIDE_BY_SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What came of it. ``till_doubts``: attempts that were open in the journals when the tills started again.

    ``rested_at`` (monotonic): when no attempt and no leg was open any more; None: some were when the time was over ·
    ``service_differs``: words of tills that the service, asked by key, does not confirm.
    """

    till_doubts: int
    rested_at: float | None
    words: Words
    service_differs: Sequence[str]


async def work_off(
    stand: Stand, terminal_ids: Iterable[str], journals: Path, visits: Sequence[Visit], timeout_s: float
) -> Aftermath:
    """Open the tills anew on their journals, as after a power cut, and recover until nothing is open, here and there.

    The results of the visits are brought up to what the journals say in the end.
    """
    until = time.monotonic() + timeout_s
    credentials = await asyncio.to_thread(_credentials, stand.folder, terminal_ids)
    async with open_tills(stand.base_url, credentials, journals, lambda _: None) as tills:
        doubts = await _open_attempts(tills)
        await _recover(tills, until)
        done = True
        try:
            await stand.until_final(max(_POLL_S, until - time.monotonic()))
        except TimeoutError:
            done = False
        rested_at = time.monotonic()
        words = await asyncio.to_thread(read_words, journals, credentials)
        await _bring_up(visits, tills, words)
        return Aftermath(
            till_doubts=doubts,
            rested_at=rested_at if done and not words.open_attempts else None,
            words=words,
            service_differs=await _service_differs(words, tills),
        )


def _credentials(folder: Path, terminal_ids: Iterable[str]) -> list[Credentials]:
    return [Credentials.load(folder / "terminals" / f"{each}.json") for each in terminal_ids]


async def _open_attempts(tills: Mapping[str, Till]) -> int:
    found = [await each.open_attempts() for till in tills.values() for each in (till.main, till.second)]
    return sum(map(len, found))


async def _recover(tills: Mapping[str, Till], until: float) -> None:
    """Every terminal works off its own journal; a round that leaves something open is followed by another one."""

    async def one(terminal: Terminal) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(TerminalError):
                await terminal.recover(timeout_s=_ROUND_S)
            if not await terminal.open_attempts():
                return
            await asyncio.sleep(_POLL_S)

    await asyncio.gather(*(one(each) for till in tills.values() for each in (till.main, till.second)))


async def _bring_up(visits: Sequence[Visit], tills: Mapping[str, Till], words: Words) -> None:
    """What a clerk would see now: the journal answers for its key, and says whether the bill was taken back."""

    async def one(visit: Visit) -> None:
        main = tills[visit.arrival.terminal_id].main
        asked = NotYetKnown(idempotency_key=visit.key, reason="asked of the journal")
        visit.result = await main.wait(asked, timeout_s=_ASK_S)
        word = words.by_key.get(visit.key)
        if word is not None and word.word == "reversed" and not visit.taken_back:
            visit.reversal = Reversed(idempotency_key=visit.key)

    await _side_by_side(one, visits)


async def _service_differs(words: Words, tills: Mapping[str, Till]) -> list[str]:
    found: list[str] = []

    async def one(word: TillWord) -> None:
        if word.word in {"refused", "never_sent", "open"}:
            return  # the service need not know such a key; that nothing stands under it is the ledger's to show
        try:
            seen = await tills[word.terminal_id].main.status(idempotency_key=word.key)
            said = outcome_of(seen)
        except RequestRefused as refusal:
            said = refusal.code
        except TerminalError as error:
            said = f"no answer ({error})"
        buried = word.word == "reversed" and word.settlement_id is None and said == "REVERSED_BEFORE_ARRIVAL"
        if said != word.word and not buried:
            found.append(f"{word.key}: {word.word} at the till, the service says {said}")

    await _side_by_side(one, words.by_key.values())
    return found


async def _side_by_side(work: Callable[[T], Awaitable[None]], pieces: Iterable[T]) -> None:
    turn = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(piece: T) -> None:
        async with turn:
            await work(piece)

    await asyncio.gather(*map(one, pieces))
