"""How an attempt ends: what was heard is written to the journal, once for all, and given back as a typed result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import cast

import msgspec

from terminal_sdk import wire
from terminal_sdk.clock import Clock
from terminal_sdk.errors import JournalError
from terminal_sdk.journal import Journal, JournalEntry, Outcome
from terminal_sdk.results import (
    AnyResult,
    Declined,
    FetchReceipt,
    NotYetKnown,
    Refunded,
    Refused,
    Result,
    Reversed,
    Settled,
)

log = logging.getLogger("terminal_sdk")
_PROGRESS: dict[wire.SettlementState, int] = {"pending": 0, "settled": 1, "declined": 1, "reversing": 2, "reversed": 3}
"""A bill goes forward only, so whatever says less than what is known was overtaken on its way."""


class Endings:
    """Writes ends and reads them. A first end stands: what comes later, twice or out of order changes nothing."""

    def __init__(self, journal: Journal, clock: Clock, fetch_receipt: FetchReceipt) -> None:
        self._journal = journal
        self._clock = clock
        self._fetch_receipt = fetch_receipt

    def of_settlement(self, settlement: wire.Settlement) -> Result:
        """A settlement as a typed result."""
        key = settlement.idempotency_key
        if settlement.state == "settled":
            return Settled(settlement=settlement, fetch_receipt=self._fetch_receipt)
        if settlement.state == "declined":
            why = settlement.decline or wire.Decline(code="DECLINED", message="The bill was declined.")
            return Declined(settlement=settlement, code=why.code, message=why.message, bank_code=why.bank_code)
        if settlement.state in ("reversing", "reversed"):
            return Reversed(idempotency_key=key, settlement=settlement)
        return NotYetKnown(idempotency_key=key, settlement=settlement, reason="pending")

    def stored(self, entry: JournalEntry) -> AnyResult:
        """The result of an answered attempt, as the journal holds it."""
        key = entry.idempotency_key
        answer = entry.answer or b""
        try:
            if entry.outcome == "settlement":
                return self.of_settlement(msgspec.json.decode(answer, type=wire.Settlement))
            if entry.outcome == "reversal":
                return Reversed(idempotency_key=key, reversal=msgspec.json.decode(answer, type=wire.Reversal))
            if entry.outcome == "refund":
                return Refunded(idempotency_key=key, refund=msgspec.json.decode(answer, type=wire.Refund))
            return Refused(idempotency_key=key, detail=msgspec.json.decode(answer, type=wire.ErrorBody).error)
        except msgspec.DecodeError:
            return NotYetKnown(idempotency_key=key, operation=entry.operation, reason="journal unreadable")

    def stored_settlement(self, entry: JournalEntry) -> Result:
        """The result of an answered attempt to settle."""
        return cast("Result", self.stored(entry))  # only a refund ends as Refunded

    async def note(self, settlement: wire.Settlement) -> Result:
        """Take in what was heard of a settlement, whether or not the journal knows it.

        What the journal holds already stands: an answer that was overtaken on its way does not bring a bill back.
        """
        key = settlement.idempotency_key
        if settlement.state == "pending":
            with contextlib.suppress(JournalError):  # a help for people only: the key is enough to ask again
                await asyncio.to_thread(self._journal.note_settlement_id, key, settlement.settlement_id)
        else:
            await self.close(key, "settlement", settlement, settlement.settlement_id)
        return await asyncio.to_thread(self._further, settlement)

    async def close(self, key: str, outcome: Outcome, answer: msgspec.Struct, settlement_id: str | None = None) -> None:
        """End an attempt in the journal, unless it has ended or the journal does not know it."""
        now = self._clock.now()
        try:
            await asyncio.to_thread(self._journal.answer, key, outcome, wire.encode(answer), now, settlement_id)
        except JournalError:
            # What was heard is true all the same, and the till must learn it; the attempt stays open for recovery.
            log.exception("the answer to attempt %s could not be written to the journal", key)

    def _further(self, heard: wire.Settlement) -> Result:
        result = self.of_settlement(heard)
        if _PROGRESS[heard.state] > _PROGRESS["settled"]:
            return result
        try:
            known = self._journal.find(heard.idempotency_key)
            taken_back = self._journal.taken_back(heard.idempotency_key)
        except JournalError:
            return result
        if taken_back is not None:
            return self.stored_settlement(taken_back)
        if known is not None and known.outcome == "settlement":
            stored = self.stored_settlement(known)
            if _progress(stored) > _PROGRESS[heard.state]:
                return stored
        return result


def _progress(result: Result) -> int:
    return -1 if isinstance(result, Refused) or result.settlement is None else _PROGRESS[result.settlement.state]
