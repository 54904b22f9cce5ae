"""Bringing one journalled attempt to an answer: the same key and the same body, again, within its limits."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from terminal_sdk import wire
from terminal_sdk.client.caller import Caller
from terminal_sdk.client.retry import Patience, RetryPolicy, Tries
from terminal_sdk.client.session import WorkingSession
from terminal_sdk.client.transport import NoAnswer
from terminal_sdk.clock import Clock
from terminal_sdk.errors import AnswerInvalid, RequestRefused, ServiceUnreachable, SignInRefused, TerminalError
from terminal_sdk.journal import Journal, JournalEntry, Operation

Request: TypeAlias = wire.SettlementRequest | wire.ReversalRequest | wire.ReversalByKeyRequest | wire.RefundRequest
NewPinBlock = Callable[[bytes], Awaitable[str]]
"""The PIN key of a new session → the same PIN as a block under it (hex)."""


class CannotSend(TerminalError):
    """The body cannot be sent again as it is: it is unreadable, or its PIN block is under a PIN key that is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No answer that can be relied on. ``reason``: what was seen last; ``hopeless``: trying on now is no use.

    ``put_off``: the service proved that it would not take the request now; ``retry_after_s``: when it may be asked
    again.
    """

    reason: str
    hopeless: bool = False
    put_off: wire.ErrorDetail | None = None
    retry_after_s: float | None = None


Answer: TypeAlias = wire.Settlement | wire.Reversal | wire.Refund
Verdict: TypeAlias = Answer | wire.ErrorDetail | Silence
_ANSWER_TYPES: dict[Operation, type[Answer]] = {
    "settlement": wire.Settlement,
    "reversal": wire.Reversal,
    "refund": wire.Refund,
}
_STILL_AT_WORK = frozenset({"TIMED_OUT", "OUTCOME_UNKNOWN"})
"""The service has the request: its outcome is to be asked for, and sending it again is no use now."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """An attempt at work. ``perhaps_processed``: an earlier send may have reached the service, or may still do so.

    ``single``: one send and no more; whoever sends so comes back by itself.
    """

    key: str
    operation: Operation
    path: str
    session_id: str
    prepared_at: dt.datetime
    request: Request | None
    sent: bool = False
    perhaps_processed: bool = False
    new_pin_block: NewPinBlock | None = None
    single: bool = False

    @classmethod
    def of(cls, entry: JournalEntry, *, single: bool = False) -> Attempt:
        """Take an attempt up again from the journal."""
        was_sent = entry.state != "prepared"
        return cls(
            key=entry.idempotency_key,
            operation=entry.operation,
            path=entry.path,
            session_id=entry.session_id,
            prepared_at=entry.prepared_at,
            request=request_of(entry),
            sent=was_sent,
            perhaps_processed=was_sent,
            single=single,
        )

    @property
    def granted_s(self) -> float:
        """How long the service may hold its answer back."""
        return self.request.wait_ms / 1000 if isinstance(self.request, wire.SettlementRequest) else 0.0

    def can_send_under(self, session: WorkingSession) -> bool:
        """Whether the body can be sent in this session: a PIN block is good only under the PIN key it was made with."""
        if self.request is None:
            return False
        has_pin = isinstance(self.request, wire.SettlementRequest) and self.request.pin_block is not None
        return not has_pin or session.session_id == self.session_id or self.new_pin_block is not None

    async def body_for(self, session: WorkingSession) -> bytes:
        """The body to send in this session. Raises ``CannotSend``."""
        if self.request is None or not self.can_send_under(session):
            raise CannotSend("the PIN block is under another session's key, or the request is unreadable")
        if (
            isinstance(self.request, wire.SettlementRequest)
            and self.request.pin_block is not None
            and session.session_id != self.session_id
            and self.new_pin_block is not None
        ):
            block = await self.new_pin_block(session.pin_key)
            self.request = msgspec.structs.replace(self.request, pin_block=block)
            self.session_id = session.session_id
        return wire.encode(self.request)


def request_of(entry: JournalEntry) -> Request | None:
    """The request in a journal entry, or None if it cannot be read (another key, or an older form of it)."""
    if entry.request is None:
        return None
    kind: type[Request] = wire.ReversalRequest
    if entry.operation == "settlement":
        kind = wire.SettlementRequest
    elif entry.operation == "refund":
        kind = wire.RefundRequest
    elif entry.path == REVERSALS_PATH:
        kind = wire.ReversalByKeyRequest
    try:
        return msgspec.json.decode(entry.request, type=kind)
    except msgspec.DecodeError:
        return None


SETTLEMENTS_PATH = "/v1/settlements"
REVERSALS_PATH = "/v1/reversals"
REFUNDS_PATH = "/v1/refunds"


class Delivery:
    """Sends attempts and asks for them. It writes to the journal only that sending begins."""

    def __init__(
        self, caller: Caller, journal: Journal, clock: Clock, policy: RetryPolicy, random: Callable[[], float]
    ) -> None:
        self._caller = caller
        self._journal = journal
        self._clock = clock
        self._policy = policy
        self._random = random

    def tries(self, patience: Patience) -> Tries:
        """The tries of one round."""
        return Tries(self._policy, patience, self._random)

    async def deliver(self, attempt: Attempt, patience: Patience) -> Verdict:
        """Send until there is an answer; after a round without one ask for the status; then once more.

        That the service does not know the key (yet) ends nothing: the request may still be on its way.
        """
        granted = Patience(self._clock, min(attempt.granted_s, patience.left_s))
        verdict: Verdict = Silence(reason="not sent")
        for _ in range(1 if attempt.single else self._policy.rounds_max):
            verdict = await self._send_round(attempt, patience)
            if not isinstance(verdict, Silence) or verdict.hopeless:
                break
            if attempt.operation == "settlement":
                asked = await self.ask_by_key(attempt.key, patience)
                verdict = asked if isinstance(asked, wire.Settlement) else verdict
            if not isinstance(verdict, Silence) or patience.left_s <= 0:
                break
        return await self._poll_while_granted(verdict, granted)

    async def ask_by_key(self, key: str, patience: Patience) -> Verdict:
        """The status under a key; a refusal is almost always that the service does not know it."""
        # A key holds no character that would have to be escaped, so that both sides sign the same text.
        return await self._ask(f"{SETTLEMENTS_PATH}?idempotency_key={key}", patience, expected_key=key)

    async def ask_by_id(self, settlement_id: str, patience: Patience) -> Verdict:
        """The status of a settlement that the service has named."""
        return await self._ask(f"{SETTLEMENTS_PATH}/{settlement_id}", patience)

    async def _ask(self, path_qs: str, patience: Patience, expected_key: str | None = None) -> Verdict:
        try:
            answer = await self._caller.ask("GET", path_qs, wire.Settlement, self.tries(patience))
        except SignInRefused as refusal:
            return Silence(reason=f"sign-in: {refusal.code}")
        except RequestRefused as refusal:
            return refusal.detail
        except ServiceUnreachable as failure:
            return Silence(reason=failure.reason)
        except AnswerInvalid:
            return Silence(reason="sign-in: unreadable answer")
        if expected_key is not None and answer.idempotency_key != expected_key:
            return Silence(reason="answer for another key")
        return answer

    async def _send_round(self, attempt: Attempt, patience: Patience) -> Verdict:
        tries = Tries(self._policy, patience, self._random, single=attempt.single)
        while True:
            try:
                return await self._send(attempt, tries)
            except NoAnswer as failure:
                attempt.perhaps_processed = attempt.perhaps_processed or failure.perhaps_processed
                if self._is_at_work(attempt, failure) or not await tries.again(failure):
                    return _silence(failure, hopeless=tries.hopeless)
            except SignInRefused as refusal:
                return Silence(reason=f"sign-in: {refusal.code}", hopeless=True)
            except RequestRefused as refusal:
                if not await self._wait_as_told(refusal.detail, tries):
                    return refusal.detail
            except AnswerInvalid:
                return Silence(reason="sign-in: unreadable answer")
            except CannotSend:
                return Silence(reason="cannot be sent in a new session")

    async def _send(self, attempt: Attempt, tries: Tries) -> Answer:
        if not attempt.sent:
            # From here on a crash leaves doubt, so the journal must say so before the first byte can leave.
            await asyncio.to_thread(self._journal.mark_sent, attempt.key, self._clock.now())
            attempt.sent = True
        answer: Answer = await self._caller.once(
            "POST",
            attempt.path,
            _ANSWER_TYPES[attempt.operation],
            attempt.body_for,
            tries.timeout_s(attempt.granted_s),
        )
        # A reversal under another key than the first one's is answered with the first one.
        if attempt.operation != "reversal" and answer.idempotency_key != attempt.key:
            raise NoAnswer("answer for another key", perhaps_processed=True)
        return answer

    def _is_at_work(self, attempt: Attempt, failure: NoAnswer) -> bool:
        return attempt.operation == "settlement" and failure.code in _STILL_AT_WORK

    async def _wait_as_told(self, detail: wire.ErrorDetail, tries: Tries) -> bool:
        """A refusal that says when to come back (``PERSON_BUSY``, say) is waited out, within the limits."""
        if detail.retry_after_ms is None:
            return False
        pause = NoAnswer(detail.code, perhaps_processed=False, retry_after_s=detail.retry_after_ms / 1000)
        return await tries.again(pause)

    async def _poll_while_granted(self, verdict: Verdict, granted: Patience) -> Verdict:
        """A service may answer 202 before the time it was granted is over: then ask on until it is."""
        pause_s = self._policy.backoff_first_s
        while isinstance(verdict, wire.Settlement) and verdict.state == "pending":
            if not await granted.sleep(pause_s):
                break
            asked = await self.ask_by_id(verdict.settlement_id, granted)
            verdict = asked if isinstance(asked, wire.Settlement) else verdict
            pause_s = min(2 * pause_s, self._policy.backoff_max_s)
        return verdict


def _silence(failure: NoAnswer, *, hopeless: bool) -> Silence:
    return Silence(
        reason=failure.reason, hopeless=hopeless, put_off=failure.put_off, retry_after_s=failure.retry_after_s
    )
