"""From what was heard to what is certain: closes attempts in the journal and gives the typed results.

A refusal is certain only if no earlier copy of the request can still be on its way. Otherwise the key is *sealed*: a
reversal by key makes the service refuse the late original for ever (or takes back what had arrived after all).
"""

from __future__ import annotations

import datetime as dt
import logging

from terminal_sdk import wire
from terminal_sdk.client.delivery import Attempt, Delivery, Silence, Verdict
from terminal_sdk.client.endings import Endings
from terminal_sdk.client.owing import Owing, reason_of, retry_after_s
from terminal_sdk.client.retry import Patience
from terminal_sdk.client.session import Sessions
from terminal_sdk.client.transport import NoAnswer
from terminal_sdk.errors import AnswerInvalid, JournalError, QueueFull, SignInRefused
from terminal_sdk.journal import JournalEntry
from terminal_sdk.results import AnyResult, NotYetKnown, Refused, Result, Reversed

CERTAIN_REFUSALS = frozenset({"IDEMPOTENCY_KEY_REUSED", "REVERSED_BEFORE_ARRIVAL"})
"""After these no copy of the request can be taken any more. A key that means another bill must never be sealed."""

NEVER_SENT = wire.ErrorDetail(
    code="NEVER_SENT", message="The till stopped before the first byte left; nothing happened. Settle anew."
)
log = logging.getLogger("terminal_sdk")
_SEAL_REASON = "no answer at the till"


class Conclusions:
    """Concludes attempts. Every method returns a result that the journal already holds, or ``NotYetKnown``."""

    def __init__(
        self,
        delivery: Delivery,
        sessions: Sessions,
        endings: Endings,
        owing: Owing,
    ) -> None:
        self._delivery = delivery
        self._sessions = sessions
        self._endings = endings
        self._owing = owing

    async def bring_to_end(self, attempt: Attempt, patience: Patience) -> Result:
        """Send a settlement (again) and conclude."""
        return await self._conclude(attempt, await self._delivery.deliver(attempt, patience), patience)

    async def resolve(self, entry: JournalEntry, patience: Patience) -> AnyResult:
        """Find out what became of an open attempt, or make it certain that nothing will.

        A settlement is asked for first. One that the service does not know is sent again while its deadline runs and
        its body is still good, and sealed otherwise.
        """
        if entry.state == "answered":
            return self._endings.stored(entry)
        if entry.operation != "settlement":
            return await self._owing.forward(entry, patience)
        attempt = Attempt.of(entry)
        if entry.state == "prepared":
            await self._endings.close(attempt.key, "never_sent", wire.ErrorBody(error=NEVER_SENT))
            return Refused(idempotency_key=attempt.key, detail=NEVER_SENT)
        return await self._resolve_sent(attempt, patience)

    async def _resolve_sent(self, attempt: Attempt, patience: Patience) -> Result:
        asked = await self._delivery.ask_by_key(attempt.key, patience)
        if isinstance(asked, wire.Settlement):
            return await self._endings.note(asked)
        if not isinstance(asked, wire.ErrorDetail) or asked.code != "SETTLEMENT_UNKNOWN":
            return _open(attempt, asked)
        if await self._may_send_again(attempt):
            return await self.bring_to_end(attempt, patience)
        return await self._seal(attempt, None, patience)

    async def _conclude(self, attempt: Attempt, verdict: Verdict, patience: Patience) -> Result:
        if isinstance(verdict, wire.Settlement):
            return await self._endings.note(verdict)
        if isinstance(verdict, Silence) and verdict.put_off is not None and not attempt.perhaps_processed:
            # Each send was refused before anything was begun: the till is told to wait, and nothing is in doubt.
            verdict = verdict.put_off
        if not isinstance(verdict, wire.ErrorDetail):
            return _open(attempt, verdict)
        if attempt.perhaps_processed and verdict.code not in CERTAIN_REFUSALS:
            return await self._seal(attempt, verdict, patience)
        await self._endings.close(attempt.key, "refusal", wire.ErrorBody(error=verdict))
        return Refused(idempotency_key=attempt.key, detail=verdict)

    async def _seal(self, attempt: Attempt, refusal: wire.ErrorDetail | None, patience: Patience) -> Result:
        try:
            sealed = await self._owing.reverse_key(attempt.key, _SEAL_REASON, patience)
        except (JournalError, QueueFull) as failure:
            # Something was sent, so this must not be raised: that would say that nothing was.
            log.warning("attempt %s cannot be sealed now: %s", attempt.key, failure)
            return NotYetKnown(idempotency_key=attempt.key, reason="sealing: journal", refusal=refusal)
        if not isinstance(sealed, Reversed):
            reason = sealed.reason if isinstance(sealed, NotYetKnown) else sealed.code
            return NotYetKnown(idempotency_key=attempt.key, reason=f"sealing: {reason}", refusal=refusal)
        if refusal is not None and not sealed.arrived:
            return Refused(idempotency_key=attempt.key, detail=refusal)
        return Reversed(idempotency_key=attempt.key, reversal=sealed.reversal)

    async def _may_send_again(self, attempt: Attempt) -> bool:
        if not isinstance(attempt.request, wire.SettlementRequest):
            return False
        try:
            session = await self._sessions.current()
        except (SignInRefused, AnswerInvalid, NoAnswer):
            return True  # the send will meet the same trouble, and say so
        # By the service's clock, as when it was written: the till's own may have jumped since.
        deadline = attempt.prepared_at + dt.timedelta(milliseconds=attempt.request.deadline_ms)
        return self._sessions.service_time(session) < deadline and attempt.can_send_under(session)


def _open(attempt: Attempt, verdict: Verdict) -> NotYetKnown:
    return NotYetKnown(idempotency_key=attempt.key, reason=reason_of(verdict), retry_after_s=retry_after_s(verdict))
