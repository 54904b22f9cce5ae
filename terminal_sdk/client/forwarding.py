"""Store and forward: what a till owes the service is sent in the background, for as long as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from terminal_sdk.client.conclusion import Conclusions
from terminal_sdk.client.owing import Owing
from terminal_sdk.client.retry import ForwardPolicy, Patience
from terminal_sdk.clock import Clock
from terminal_sdk.errors import ForwarderBusy, JournalError, TerminalError
from terminal_sdk.journal import ForwardLock, Journal, JournalEntry
from terminal_sdk.results import AnyResult, NotYetKnown

log = logging.getLogger("terminal_sdk")
OnResult = Callable[[AnyResult], None]
_SILENT_MAX = 3
"""After so many silences running, a single pass takes the service for unreachable."""


class Forwarding:
    """What a forwarder works with: the parts of one open terminal."""

    def __init__(
        self, owing: Owing, conclusions: Conclusions, journal: Journal, clock: Clock, random: Callable[[], float]
    ) -> None:
        self.owing = owing
        self.conclusions = conclusions
        self.journal = journal
        self.clock = clock
        self.random = random

    async def heads(self) -> list[JournalEntry]:
        """The oldest thing that each bill owes, oldest first: what came later waits for it."""
        first: dict[str, JournalEntry] = {}
        for entry in await asyncio.to_thread(self.journal.owed_entries):
            # A bill that was given up is ended by its own reversal, so the reversal does not wait for the bill.
            waits = first.get(entry.bill)
            if waits is None or waits.operation == "settlement":
                first[entry.bill] = entry
        return sorted(first.values(), key=lambda entry: entry.number)

    async def bring(self, entry: JournalEntry, patience: Patience) -> AnyResult:
        """One try."""
        if entry.operation == "settlement":
            return await self.conclusions.resolve(entry, patience)
        return await self.owing.forward(entry, patience, single=True)


class Forwarder:
    """Forwards reversals, refunds and bills that were given up; made by ``terminal.forwarder()``.

    ``async with`` runs it in the background until the block or the terminal is left; ``once`` makes one pass. For each
    bill what is owed goes in order and one at a time. A try that brings no answer is followed by another, at a distance
    that doubles up to its limit, and there is no last one. It survives restarts, since the queue is the journal, and
    jumps of the till's clock, since distances are measured by a clock that never goes back.
    """

    def __init__(
        self, parts: Forwarding, active: set[Forwarder], policy: ForwardPolicy, on_result: OnResult | None
    ) -> None:
        self._parts = parts
        self._active = active
        self._policy = policy
        self._on_result = on_result
        self._due: dict[str, float] = {}
        self._silent = 0
        self._task: asyncio.Task[None] | None = None
        self._lock = ForwardLock(parts.journal.path)

    async def __aenter__(self) -> Self:
        """Begin. Raises ``ForwarderBusy`` if another one is at work on this journal, ``JournalError``."""
        if self._task is not None:
            raise ForwarderBusy
        await asyncio.to_thread(self._lock.__enter__)
        self._task = asyncio.create_task(self._run(), name="terminal-forwarder")
        self._active.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End. A try under way is cut off; it stays queued."""
        await self.stop()

    async def stop(self) -> None:
        """End, from wherever it was begun; harmless when it has ended already."""
        task, self._task = self._task, None
        if task is None:
            return
        self._active.discard(self)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._lock.__exit__()

    async def once(self) -> list[AnyResult]:
        """Try everything that is owed now, whenever it would be due; what stays open is ``NotYetKnown``.

        Where the service answers nothing at all the pass ends early. Raises ``ForwarderBusy``, ``JournalError``.
        """
        results: list[AnyResult] = []
        with self._lock:
            tried: set[str] = set()
            silent = 0
            while silent < _SILENT_MAX:
                heads = [each for each in await self._parts.heads() if each.bill not in tried]
                if not heads:
                    break
                result = await self._try(heads[0])
                results.append(result)
                silent = silent + 1 if isinstance(result, NotYetKnown) else 0
                if isinstance(result, NotYetKnown):
                    tried.add(heads[0].bill)
        return results

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                pause_s = await self._step()
                failures = 0
            except TerminalError as error:
                failures += 1
                log.warning("forwarding cannot go on now: %s", error)
                pause_s = self._policy.distance_s(failures, self._parts.random())
            await self._parts.clock.sleep(pause_s)

    async def _step(self) -> float:
        """Try what is due first, if anything is; how long to pause then."""
        heads = await self._parts.heads()
        now = self._parts.clock.monotonic()
        self._due = {each.idempotency_key: self._due_at(each, now) for each in heads}
        if not heads:
            return self._policy.idle_s
        head = min(heads, key=lambda each: (self._due[each.idempotency_key], each.number))
        left_s = self._due[head.idempotency_key] - now
        if left_s > 0:
            return min(left_s, self._policy.idle_s)
        result = await self._try(head)
        if not isinstance(result, NotYetKnown):
            self._silent = 0
            return 0.0
        # One try tells of the whole service: while nothing is answered, everything keeps its distance.
        self._silent += 1
        return self._policy.distance_s(self._silent, self._parts.random(), result.retry_after_s)

    def _due_at(self, entry: JournalEntry, now: float) -> float:
        known = self._due.get(entry.idempotency_key)
        if known is not None:
            return known
        if entry.next_try_at is None:
            return now
        # What an earlier run planned. The clock may have jumped since, so never further than a run would plan.
        left_s = (entry.next_try_at - self._parts.clock.now()).total_seconds()
        return now + min(max(left_s, 0.0), self._policy.backoff_max_s)

    async def _try(self, entry: JournalEntry) -> AnyResult:
        result = await self._parts.bring(entry, Patience(self._parts.clock, self._policy.try_s))
        if isinstance(result, NotYetKnown):
            await self._plan(entry, result)
        elif self._on_result is not None:
            self._on_result(result)
        return result

    async def _plan(self, entry: JournalEntry, result: NotYetKnown) -> None:
        distance_s = self._policy.distance_s(entry.tries + 1, self._parts.random(), result.retry_after_s)
        self._due[entry.idempotency_key] = self._parts.clock.monotonic() + distance_s
        now = self._parts.clock.now()
        with contextlib.suppress(JournalError):  # it only tells people, and the next run
            await asyncio.to_thread(
                self._parts.journal.note_failure,
                entry.idempotency_key,
                result.reason,
                now,
                now + dt.timedelta(seconds=distance_s),
            )
