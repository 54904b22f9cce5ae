"""After a start: every attempt that an earlier run left open, or ended and never handed out, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from typing import Literal, TypeAlias

from terminal_sdk.client.endings import Endings
from terminal_sdk.client.following import Following
from terminal_sdk.client.owing import Owing
from terminal_sdk.client.retry import Patience
from terminal_sdk.errors import AnswerInvalid, RequestRefused, ServiceUnreachable
from terminal_sdk.journal import Journal, JournalEntry
from terminal_sdk.results import AnyResult, NotYetKnown, Settled

Paid: TypeAlias = Literal["print", "reverse"]
AskPaid: TypeAlias = Callable[[Settled], Paid]
_REASON = "paid, never handed out"


class Resuming:
    """Recovers first, then gives what was never handed out; a till that does not wait any more gives its bills up."""

    def __init__(self, following: Following, owing: Owing, endings: Endings, journal: Journal) -> None:
        self._following = following
        self._owing = owing
        self._endings = endings
        self._journal = journal

    async def resume(self, patience: Patience, running: Container[str], paid: Paid | AskPaid) -> list[AnyResult]:
        """One result for each bill and refund. Raises ``JournalError``."""
        recovered = {result.idempotency_key: result for result in await self._following.recover(patience, running)}
        for result in recovered.values():
            if isinstance(result, NotYetKnown) and result.operation == "settlement":
                await asyncio.to_thread(self._journal.give_up, result.idempotency_key)
        results: list[AnyResult] = []
        for entry in await asyncio.to_thread(self._journal.not_handed_out):
            if entry.idempotency_key not in running:
                told = await asyncio.to_thread(self._told_as, entry)
                recovered.pop(entry.idempotency_key, None)
                result = recovered.pop(told.idempotency_key, None) or self._endings.stored(told)
                results.append(await self._decided(result, patience, paid))
        # Still open; or it has ended, but the journal could not be told.
        return results + [await self._decided(result, patience, paid) for result in recovered.values()]

    def _told_as(self, entry: JournalEntry) -> JournalEntry:
        """A reversal that ended an open bill is told under the bill's own key: that is the one the till knows."""
        if entry.outcome != "reversal" or entry.operation != "reversal":
            return entry
        original = self._journal.find(entry.bill)
        return original if original is not None and original.outcome == "reversal" else entry

    async def _decided(self, result: AnyResult, patience: Patience, paid: Paid | AskPaid) -> AnyResult:
        if not isinstance(result, Settled):
            return result
        now = await self._as_it_stands(result, patience)
        if not isinstance(now, Settled):
            return now
        choice = paid if isinstance(paid, str) else paid(now)
        if choice == "print":
            return now
        return await self._owing.reverse_id(now.settlement_id, _REASON, patience)

    async def _as_it_stands(self, result: Settled, patience: Patience) -> AnyResult:
        """Somebody else may have taken the bill back since the till heard of it."""
        try:
            return await self._following.status_by_key(result.idempotency_key, patience)
        except (ServiceUnreachable, RequestRefused, AnswerInvalid):
            return result
