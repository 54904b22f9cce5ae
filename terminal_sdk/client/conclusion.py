"""From what was heard to what is certain: closes attempts in the journal and gives the typed results.

A refusal is certain only if no earlier copy of the request can still be on its way. Otherwise the key is *sealed*: a
reversal by key makes the service refuse the late original for ever (or takes back what had arrived after all).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging

import msgspec

from terminal_sdk import wire
from terminal_sdk.client.bill import checked
from terminal_sdk.client.delivery import REVERSALS_PATH, SETTLEMENTS_PATH, Attempt, Delivery, Request, Silence, Verdict
from terminal_sdk.client.retry import Patience
from terminal_sdk.client.session import Sessions
from terminal_sdk.client.transport import NoAnswer
from terminal_sdk.clock import Clock
from terminal_sdk.crypto import sm3
from terminal_sdk.errors import AnswerInvalid, JournalError, KeyReused, SignInRefused
from terminal_sdk.journal import Journal, JournalEntry, Outcome
from terminal_sdk.results import Declined, FetchReceipt, NotYetKnown, Refused, Result, ReversalResult, Reversed, Settled

CERTAIN_REFUSALS = frozenset({"IDEMPOTENCY_KEY_REUSED", "REVERSED_BEFORE_ARRIVAL"})
"""After these no copy of the request can be taken any more. A key that means another bill must never be sealed."""

NEVER_SENT = wire.ErrorDetail(
    code="NEVER_SENT", message="The till stopped before the first byte left; nothing happened. Settle anew."
)
log = logging.getLogger("terminal_sdk")
_SEAL_REASON = "no answer at the till"
_KEY_DIGITS = 40


class Conclusions:
    """Concludes attempts. Every method returns a result that the journal already holds, or ``NotYetKnown``."""

    def __init__(
        self,
        delivery: Delivery,
        sessions: Sessions,
        journal: Journal,
        clock: Clock,
        *,
        terminal_id: str,
        fetch_receipt: FetchReceipt,
    ) -> None:
        self._delivery = delivery
        self._sessions = sessions
        self._journal = journal
        self._clock = clock
        self._terminal_id = terminal_id
        self._fetch_receipt = fetch_receipt

    async def bring_to_end(self, attempt: Attempt, patience: Patience) -> Result:
        """Send (again) and conclude."""
        verdict = await self._delivery.deliver(attempt, patience)
        if attempt.operation == "reversal":
            return await self._conclude_reversal(attempt, verdict)
        return await self._conclude(attempt, verdict, patience)

    async def resolve(self, entry: JournalEntry, patience: Patience) -> Result:
        """Find out what became of an open attempt, or make it certain that nothing will.

        A settlement is asked for first. One that the service does not know is sent again while its deadline runs and
        its body is still good, and sealed otherwise.
        """
        if entry.state == "answered":
            return self.stored(entry)
        attempt = Attempt.of(entry)
        if entry.operation == "reversal":
            return await self.bring_to_end(attempt, patience)
        if entry.state == "prepared":
            await self._close(attempt.key, "never_sent", wire.ErrorBody(error=NEVER_SENT))
            return Refused(idempotency_key=attempt.key, detail=NEVER_SENT)
        return await self._resolve_sent(attempt, patience)

    async def _resolve_sent(self, attempt: Attempt, patience: Patience) -> Result:
        asked = await self._delivery.ask_by_key(attempt.key, patience)
        if isinstance(asked, wire.Settlement):
            return await self.note(asked)
        if not isinstance(asked, wire.ErrorDetail) or asked.code != "SETTLEMENT_UNKNOWN":
            return NotYetKnown(idempotency_key=attempt.key, reason=_reason(asked))
        if await self._may_send_again(attempt):
            return await self.bring_to_end(attempt, patience)
        return await self._seal(attempt, None, patience)

    async def reverse_key(self, original_key: str, reason: str, patience: Patience) -> ReversalResult:
        """Take back what was sent under a key, also if it never arrived."""
        key = self._reversal_key("key", original_key, reason)
        request = wire.ReversalByKeyRequest(idempotency_key=key, original_idempotency_key=original_key, reason=reason)
        return await self._reverse(key, REVERSALS_PATH, checked(request), patience)

    async def reverse_id(self, settlement_id: str, reason: str, patience: Patience) -> ReversalResult:
        """Take back a settlement that the service has named."""
        key = self._reversal_key("id", settlement_id, reason)
        request = wire.ReversalRequest(idempotency_key=key, reason=reason)
        return await self._reverse(key, f"{SETTLEMENTS_PATH}/{settlement_id}/reversal", checked(request), patience)

    def _reversal_key(self, kind: str, target: str, reason: str) -> str:
        """The same target and reason always have the same key, however often and after whatever crash it is asked."""
        text = "\n".join((self._terminal_id, kind, target, reason))
        return f"rev-{sm3(text.encode()).hex()[:_KEY_DIGITS]}"

    async def _reverse(self, key: str, path: str, request: Request, patience: Patience) -> ReversalResult:
        now = self._clock.now()
        attempt = Attempt(key=key, operation="reversal", path=path, session_id="", prepared_at=now, request=request)
        try:
            await asyncio.to_thread(
                self._journal.prepare, key, "reversal", path, wire.encode(request), session_id="", at=now
            )
        except KeyReused:
            await asyncio.to_thread(self._journal.reopen, key)
            entry = await asyncio.to_thread(self._journal.find, key)
            attempt.sent = entry is not None and entry.state != "prepared"
        return await self._conclude_reversal(attempt, await self._delivery.deliver(attempt, patience))

    def stored(self, entry: JournalEntry) -> Result:
        """The result of an answered attempt, as the journal holds it."""
        key = entry.idempotency_key
        try:
            answer = entry.answer or b""
            if entry.outcome == "settlement":
                return self.of_settlement(msgspec.json.decode(answer, type=wire.Settlement))
            if entry.outcome == "reversal":
                return Reversed(idempotency_key=key, reversal=msgspec.json.decode(answer, type=wire.Reversal))
            return Refused(idempotency_key=key, detail=msgspec.json.decode(answer, type=wire.ErrorBody).error)
        except msgspec.DecodeError:
            return NotYetKnown(idempotency_key=key, operation=entry.operation, reason="journal unreadable")

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

    async def note(self, settlement: wire.Settlement) -> Result:
        """Conclude what was heard of a settlement, whether or not the journal knows it; the first end stands."""
        key = settlement.idempotency_key
        if settlement.state == "pending":
            with contextlib.suppress(JournalError):  # a help for people only: the key is enough to ask again
                await asyncio.to_thread(self._journal.note_settlement_id, key, settlement.settlement_id)
        else:
            await self._close(key, "settlement", settlement, settlement.settlement_id)
        return self.of_settlement(settlement)

    async def _conclude(self, attempt: Attempt, verdict: Verdict, patience: Patience) -> Result:
        if isinstance(verdict, wire.Settlement):
            return await self.note(verdict)
        if not isinstance(verdict, wire.ErrorDetail):
            return NotYetKnown(idempotency_key=attempt.key, reason=_reason(verdict))
        if attempt.perhaps_processed and verdict.code not in CERTAIN_REFUSALS:
            return await self._seal(attempt, verdict, patience)
        await self._close(attempt.key, "refusal", wire.ErrorBody(error=verdict))
        return Refused(idempotency_key=attempt.key, detail=verdict)

    async def _conclude_reversal(self, attempt: Attempt, verdict: Verdict) -> ReversalResult:
        if isinstance(verdict, wire.Reversal):
            await self._close(attempt.key, "reversal", verdict)
            await self._close_original(attempt, verdict)
            return Reversed(idempotency_key=attempt.key, reversal=verdict)
        if isinstance(verdict, wire.ErrorDetail):
            await self._close(attempt.key, "refusal", wire.ErrorBody(error=verdict))
            return Refused(idempotency_key=attempt.key, detail=verdict)
        return NotYetKnown(idempotency_key=attempt.key, operation="reversal", reason=_reason(verdict))

    async def _seal(self, attempt: Attempt, refusal: wire.ErrorDetail | None, patience: Patience) -> Result:
        sealed = await self.reverse_key(attempt.key, _SEAL_REASON, patience)
        if not isinstance(sealed, Reversed):
            reason = sealed.reason if isinstance(sealed, NotYetKnown) else sealed.code
            return NotYetKnown(idempotency_key=attempt.key, reason=f"sealing: {reason}", refusal=refusal)
        if refusal is not None and not sealed.arrived:
            return Refused(idempotency_key=attempt.key, detail=refusal)
        return Reversed(idempotency_key=attempt.key, reversal=sealed.reversal)

    async def _may_send_again(self, attempt: Attempt) -> bool:
        if not isinstance(attempt.request, wire.SettlementRequest):
            return False
        deadline = attempt.prepared_at + dt.timedelta(milliseconds=attempt.request.deadline_ms)
        if self._clock.now() >= deadline:
            return False
        try:
            return attempt.can_send_under(await self._sessions.current())
        except (SignInRefused, AnswerInvalid, NoAnswer):
            return True  # the send will meet the same trouble, and say so

    async def _close_original(self, attempt: Attempt, reversal: wire.Reversal) -> None:
        """What was taken back needs no answer of its own any more."""
        original: str | None = None
        if isinstance(attempt.request, wire.ReversalByKeyRequest):
            original = attempt.request.original_idempotency_key
        elif reversal.settlement_id is not None:
            entry = await asyncio.to_thread(self._journal.find_settlement, reversal.settlement_id)
            original = entry.idempotency_key if entry else None
        if original is not None:
            await self._close(original, "reversal", reversal)

    async def _close(
        self, key: str, outcome: Outcome, answer: msgspec.Struct, settlement_id: str | None = None
    ) -> None:
        now = self._clock.now()
        try:
            await asyncio.to_thread(self._journal.answer, key, outcome, wire.encode(answer), now, settlement_id)
        except JournalError:
            # What was heard is true all the same, and the till must learn it; the attempt stays open for recovery.
            log.exception("the answer to attempt %s could not be written to the journal", key)


def _reason(verdict: Verdict) -> str:
    if isinstance(verdict, Silence):
        return verdict.reason
    return verdict.code if isinstance(verdict, wire.ErrorDetail) else "unexpected answer"
