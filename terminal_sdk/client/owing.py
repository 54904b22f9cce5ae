"""What a till owes the service once it has decided: reversals and refunds, in order and one at a time for each bill."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias, cast

from terminal_sdk import wire
from terminal_sdk.client.bill import checked
from terminal_sdk.client.delivery import REVERSALS_PATH, SETTLEMENTS_PATH, Attempt, Delivery, Request, Silence, Verdict
from terminal_sdk.client.endings import Endings
from terminal_sdk.client.retry import Patience
from terminal_sdk.clock import Clock
from terminal_sdk.crypto import sm3
from terminal_sdk.errors import JournalError, KeyReused
from terminal_sdk.journal import Journal, JournalEntry, Operation
from terminal_sdk.results import NotYetKnown, Refunded, RefundResult, Refused, ReversalResult, Reversed

OwedResult: TypeAlias = Reversed | Refunded | NotYetKnown | Refused
_KEY_DIGITS = 40
_OF_THE_TERMINAL = ("TERMINAL_", "INSTITUTION_")
"""Refusals that begin so are about who asks, and say nothing about what is owed."""
_BEHIND = "behind an earlier one"
_TOO_EARLY = "REFUND_TOO_EARLY"


class Owing:
    """Writes what is owed and brings it to the service; what finds no answer stays queued in the journal."""

    def __init__(
        self, delivery: Delivery, endings: Endings, journal: Journal, clock: Clock, *, terminal_id: str
    ) -> None:
        self._delivery = delivery
        self._endings = endings
        self._journal = journal
        self._clock = clock
        self._terminal_id = terminal_id
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def reverse_key(self, original_key: str, reason: str, patience: Patience) -> ReversalResult:
        """Take back what was sent under a key, also if it never arrived."""
        key = self._reversal_key("key", original_key, reason)
        request = wire.ReversalByKeyRequest(idempotency_key=key, original_idempotency_key=original_key, reason=reason)
        return await self._reverse(key, REVERSALS_PATH, checked(request), original_key, patience)

    async def reverse_id(self, settlement_id: str, reason: str, patience: Patience) -> ReversalResult:
        """Take back a settlement that the service has named."""
        key = self._reversal_key("id", settlement_id, reason)
        request = wire.ReversalRequest(idempotency_key=key, reason=reason)
        path = f"{SETTLEMENTS_PATH}/{settlement_id}/reversal"
        return await self._reverse(key, path, checked(request), settlement_id, patience)

    async def refund(
        self, key: str, settlement_id: str, lines: Sequence[wire.RefundLine], reason: str, patience: Patience
    ) -> RefundResult:
        """Give lines back. A key that the journal knows goes on with its refund, or answers from it."""
        request = checked(wire.RefundRequest(idempotency_key=key, lines=list(lines), reason=reason))
        path = f"{SETTLEMENTS_PATH}/{settlement_id}/refunds"
        try:
            await self._prepare(key, "refund", path, request, settlement_id)
        except KeyReused:
            known = await asyncio.to_thread(self._journal.find, key)
            if known is None or known.path != path or known.request not in (None, wire.encode(request)):
                raise
        return cast("RefundResult", await self._bring_in_turn(key, patience))  # an attempt ends as what it is

    async def forward(self, entry: JournalEntry, patience: Patience, *, single: bool = False) -> OwedResult:
        """Bring something owed on when it is its bill's turn; from the journal if it has ended meanwhile.

        ``single``: by one send.
        """
        async with self._turn(entry.bill):
            current = await asyncio.to_thread(self._journal.find, entry.idempotency_key)
            if current is not None and current.state == "answered":
                return cast("OwedResult", self._endings.stored(current))
            if patience.left_s <= 0:  # another call had the turn for so long
                return NotYetKnown(idempotency_key=entry.idempotency_key, operation=entry.operation, reason=_BEHIND)
            return await self._bring(Attempt.of(current or entry, single=single), patience)

    async def _reverse(self, key: str, path: str, request: Request, bill: str, patience: Patience) -> ReversalResult:
        try:
            await self._prepare(key, "reversal", path, request, bill)
        except KeyReused:
            await asyncio.to_thread(self._journal.reopen, key)
        return cast("ReversalResult", await self._bring_in_turn(key, patience))  # an attempt ends as what it is

    def _reversal_key(self, kind: str, target: str, reason: str) -> str:
        """The same target and reason always have the same key, however often and after whatever crash it is asked."""
        text = "\n".join((self._terminal_id, kind, target, reason))
        return f"rev-{sm3(text.encode()).hex()[:_KEY_DIGITS]}"

    async def _prepare(self, key: str, operation: Operation, path: str, request: Request, bill: str) -> None:
        now = self._clock.now()
        body = wire.encode(request)
        await asyncio.to_thread(self._journal.prepare, key, operation, path, body, session_id="", at=now, bill=bill)

    async def _bring_in_turn(self, key: str, patience: Patience) -> OwedResult:
        """It is durable; now send it, after what the same bill owed before it."""
        entry = await asyncio.to_thread(self._journal.find, key)
        if entry is None:
            raise JournalError(f"attempt {key} is not there to be sent")
        result: OwedResult = NotYetKnown(idempotency_key=key, operation=entry.operation, reason=_BEHIND)
        # What waits for its turn longer than the call has patience stays queued.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(patience.left_s, 0.0)) as waiting, self._turn(entry.bill):
                waiting.reschedule(None)
                if await self._earlier_are_done(entry, patience):
                    result = await self._again_or_stored(key, patience)
        if isinstance(result, NotYetKnown):
            await self._note_failure(result)
        return result

    async def _earlier_are_done(self, entry: JournalEntry, patience: Patience) -> bool:
        for earlier in await asyncio.to_thread(self._journal.owed_entries, entry.bill):
            if earlier.number >= entry.number or earlier.operation == "settlement":
                continue
            result = await self._bring(Attempt.of(earlier), patience)
            if isinstance(result, NotYetKnown):
                await self._note_failure(result)
                return False
        return True

    async def _again_or_stored(self, key: str, patience: Patience) -> OwedResult:
        entry = await asyncio.to_thread(self._journal.find, key)
        if entry is None:
            raise JournalError(f"attempt {key} is not there to be sent")
        if entry.state == "answered" and entry.operation == "refund":
            return cast("OwedResult", self._endings.stored(entry))
        # A reversal that has its answer is asked again all the same: the service says how far it has come.
        return await self._bring(Attempt.of(entry), patience)

    async def _bring(self, attempt: Attempt, patience: Patience) -> OwedResult:
        verdict = await self._delivery.deliver(attempt, patience)
        if isinstance(verdict, wire.Reversal):
            await self._endings.close(attempt.key, "reversal", verdict)
            await self._close_original(attempt, verdict)
            return Reversed(idempotency_key=attempt.key, reversal=verdict)
        if isinstance(verdict, wire.Refund):
            await self._endings.close(attempt.key, "refund", verdict, verdict.settlement_id)
            return Refunded(idempotency_key=attempt.key, refund=verdict)
        if isinstance(verdict, wire.ErrorDetail) and not _stays_owed(attempt, verdict):
            await self._endings.close(attempt.key, "refusal", wire.ErrorBody(error=verdict))
            return Refused(idempotency_key=attempt.key, detail=verdict)
        return _queued(attempt, verdict)

    async def _close_original(self, attempt: Attempt, reversal: wire.Reversal) -> None:
        """What was taken back needs no answer of its own any more."""
        original: str | None = None
        if isinstance(attempt.request, wire.ReversalByKeyRequest):
            original = attempt.request.original_idempotency_key
        elif reversal.settlement_id is not None:
            entry = await asyncio.to_thread(self._journal.find_settlement, reversal.settlement_id)
            original = entry.idempotency_key if entry else None
        if original is not None:
            await self._endings.close(original, "reversal", reversal)

    async def _note_failure(self, result: NotYetKnown) -> None:
        # It only tells people; the attempt is durable without it.
        with contextlib.suppress(JournalError):
            key, now = result.idempotency_key, self._clock.now()
            await asyncio.to_thread(self._journal.note_failure, key, result.reason, now)

    @contextlib.asynccontextmanager
    async def _turn(self, bill: str) -> AsyncIterator[None]:
        """Never two at once for one bill."""
        lock = self._turns.setdefault(bill, asyncio.Lock())
        async with lock:
            yield


def reason_of(verdict: Verdict) -> str:
    """A stable word for what was seen last."""
    if isinstance(verdict, Silence):
        return verdict.reason
    return verdict.code if isinstance(verdict, wire.ErrorDetail) else "unexpected answer"


def retry_after_s(verdict: Verdict) -> float | None:
    """How long the service asked to be left alone, if it did."""
    if isinstance(verdict, Silence):
        return verdict.retry_after_s
    asked_ms = verdict.retry_after_ms if isinstance(verdict, wire.ErrorDetail) else None
    return None if asked_ms is None else max(0, asked_ms) / 1000


def _stays_owed(attempt: Attempt, refusal: wire.ErrorDetail) -> bool:
    """Whether it may be taken another time, or a copy of it still can be taken."""
    if refusal.retry_after_ms is not None or refusal.code.startswith(_OF_THE_TERMINAL):
        return True
    return attempt.operation == "refund" and attempt.perhaps_processed and refusal.code == _TOO_EARLY


def _queued(attempt: Attempt, verdict: Verdict) -> NotYetKnown:
    return NotYetKnown(
        idempotency_key=attempt.key,
        operation=attempt.operation,
        reason=reason_of(verdict),
        refusal=verdict if isinstance(verdict, wire.ErrorDetail) else None,
        retry_after_s=retry_after_s(verdict),
    )
