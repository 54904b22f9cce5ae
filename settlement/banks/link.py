"""The link to one bank: limits, one write per message, and what each answer, or its absence, comes to."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from dataclasses import dataclass

import structlog

from settlement.banks import metrics
from settlement.banks.circuit import CircuitState
from settlement.banks.codes import MAC_REFUSED, Verb
from settlement.banks.directory import Bank
from settlement.banks.iso.codec import Message, MessageError, pack
from settlement.banks.keeper import LinkKeeper
from settlement.banks.messages import Expected, OrderError, build, judge
from settlement.banks.port import BankAnswer, BankOrder, BankOutcome, MessageIdentity
from settlement.banks.restraint import Allowance, BankLog
from settlement.banks.session import Failure, Session
from settlement.banks.tuning import LinkTuning
from settlement.banks.unmatched import LateCallback, RecentRequests
from settlement.businessdate import SHANGHAI
from settlement.clock import Clock
from settlement.ids import IdSource

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkState:
    """How a link is. ``ready``: signed on with working keys · ``since``: when it became (un)ready, UTC."""

    bank: str
    ready: bool
    circuit: CircuitState
    in_flight: int
    since: dt.datetime


def _not_sent(detail: str) -> BankAnswer:
    return BankAnswer(outcome=BankOutcome.NOT_SENT, detail=detail)


def _unknown(detail: str) -> BankAnswer:
    return BankAnswer(outcome=BankOutcome.UNKNOWN, detail=detail)


class BankLink:
    """All messages to one bank. A message is written once or not at all; repeating is the caller's decision.

    ``on_late`` is called on the event loop for valid answers that came too late, once for each message; it must not
    block.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        zone_key: bytes,
        acquirer: str,
        clock: Clock,
        ids: IdSource,
        tuning: LinkTuning | None = None,
        on_late: LateCallback | None = None,
    ) -> None:
        self.bank = bank
        self._acquirer = acquirer
        self._clock = clock
        self._tuning = tuning or LinkTuning()
        self._on_late = on_late
        self._recent = RecentRequests(self._tuning.recent_limit)
        self._strays = Allowance(self._tuning.stray_burst, self._tuning.stray_per_s, clock)
        self._log = BankLog(bank.code, self._tuning.log_pause_s, clock)
        self._keeper = LinkKeeper(
            bank,
            zone_key=zone_key,
            clock=clock,
            ids=ids,
            tuning=self._tuning,
            bank_log=self._log,
            on_unmatched=self._unmatched,
        )
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._stopping = False
        self._count(0)

    def state(self) -> LinkState:
        """The link as it is now."""
        keeper = self._keeper
        return LinkState(self.bank.code, keeper.ready, keeper.circuit.state, self._in_flight, keeper.since)

    def start(self) -> None:
        """Begin to connect, in the background, for as long as the link lives."""
        self._keeper.start()

    async def wait_ready(self, seconds: float) -> bool:
        """Wait until the link can carry traffic; false when the time is over."""
        return await self._keeper.wait_ready(seconds)

    async def stop(self, drain_s: float = 5.0) -> None:
        """Take no more messages, wait for those under way (so long at most), sign off and close."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._idle.wait()
        await self._keeper.stop()

    async def exchange(self, verb: Verb, order: BankOrder, send_before: float) -> BankAnswer:
        """Send one message and say what came of it. Never raises for the bank or the network."""
        answer = await self._limited(verb, order, send_before)
        metrics.REQUESTS.labels(self.bank.code, verb, answer.outcome, answer.detail).inc()
        if answer.outcome is BankOutcome.UNKNOWN:
            # What was not sent is only counted: a bank that is away would fill the log.
            log.warning(
                "bank message without a conclusive answer",
                bank=self.bank.code,
                verb=str(verb),
                detail=answer.detail,
                response_code=answer.response_code,
                reference=order.identity.reference,
            )
        return answer

    async def _limited(self, verb: Verb, order: BankOrder, send_before: float) -> BankAnswer:
        if self._stopping:
            return _not_sent("stopping")
        if self._in_flight >= self.bank.max_in_flight:
            return _not_sent("busy")
        spell = self._keeper.circuit.admit()
        if spell is None:
            return _not_sent("circuit_open")
        self._count(+1)
        try:
            return await self._send(verb, order, send_before, spell)
        finally:
            self._keeper.circuit.leave(spell)
            self._count(-1)

    def _count(self, step: int) -> None:
        self._in_flight += step
        metrics.IN_FLIGHT.labels(self.bank.code).set(self._in_flight)
        if self._in_flight:
            self._idle.clear()
        else:
            self._idle.set()

    async def _send(self, verb: Verb, order: BankOrder, send_before: float, spell: int) -> BankAnswer:
        session = await self._ready_session(send_before)
        if session is None or self._keeper.circuit.state is CircuitState.OPEN:
            return _not_sent("not_connected" if session is None else "circuit_open")
        try:
            request = build(verb, order, keys=session.keys, acquirer=self._acquirer, now=self._clock.now())
            body = pack(request.fields, session.keys.mac)
        except OrderError as error:
            return _not_sent(error.detail)
        except MessageError:
            return _not_sent("malformed")
        expected = request.expected
        if session.awaits(expected.key):
            # Another call has this very message under way: this one sent nothing, but the message may have left.
            return _unknown("in_flight")
        self._recent.sent(expected)
        started = self._clock.monotonic()

        def read(message: Message) -> BankAnswer:
            answer = judge(expected, message, session.mac_key_of(message), self._today())
            self._recent.answered(expected, answer.outcome)
            return answer

        answer = await session.request(
            expected.key, body, send_before=send_before, timeout_s=self.bank.timeout_ms / 1_000, read=read
        )
        if isinstance(answer, Failure):
            return self._failed(session, answer, spell)
        metrics.LATENCY.labels(self.bank.code, verb).observe(max(0.0, self._clock.monotonic() - started))
        self._learn(answer, expected, spell)
        return answer

    async def _ready_session(self, send_before: float) -> Session | None:
        """The session in use. A link that went down just now is waited for, within the limits of the message; one that
        has been down for longer is not."""
        if self._keeper.session is None:
            now = self._clock.monotonic()
            patience = min(self._keeper.down_at + self._tuning.connect_wait_s, send_before) - now
            if patience > 0:
                await self._keeper.wait_ready(patience)
        return self._keeper.session

    def _failed(self, session: Session, failure: Failure, spell: int) -> BankAnswer:
        circuit = self._keeper.circuit
        if failure.detail in {"timeout", "congested"}:
            circuit.failure(spell)
        elif failure.sent and not session.blamed:
            # A connection lost under traffic counts once, however many messages it took along.
            session.blamed = True
            circuit.failure(spell)
        return _unknown(failure.detail) if failure.sent else _not_sent(failure.detail)

    def _learn(self, answer: BankAnswer, expected: Expected, spell: int) -> None:
        """What an answer says about the bank's end of the link."""
        worthless = answer.outcome is BankOutcome.UNKNOWN and answer.detail != ""
        if worthless:
            metrics.REJECTED.labels(self.bank.code, answer.detail).inc()
        if worthless and answer.detail != "bad_mac":
            self._alarm("bank answer contradicts its request", expected.verb, expected.identity, answer)
        if answer.detail == "bad_mac" or answer.response_code == MAC_REFUSED:
            self._keeper.want_keys()
            worthless = True
        if worthless:
            self._keeper.circuit.failure(spell)
        else:
            self._keeper.circuit.success(spell)

    def _alarm(self, event: str, verb: Verb, identity: MessageIdentity, answer: BankAnswer) -> None:
        """Somebody must look at this. Each one is written: they are as rare as the circuit makes them."""
        log.error(
            event,
            bank=self.bank.code,
            verb=str(verb),
            outcome=str(answer.outcome),
            detail=answer.detail,
            response_code=answer.response_code,
            reference=identity.reference,
        )

    def _unmatched(self, session: Session, message: Message) -> None:
        kind, late = self._recent.classify(message, session.mac_key_of(message), self._today())
        metrics.UNMATCHED.labels(self.bank.code, kind).inc()
        self._log.say(logging.WARNING, "unmatched answer", kind=f"unmatched {kind}", sort=kind, mti=message.mti)
        if late is None:
            if not self._strays.take():
                session.close("flood")
        elif kind == "contradiction":
            self._alarm("bank contradicts itself", late.verb, late.identity, late.answer)
        elif self._on_late is not None:
            try:
                self._on_late(late)
            except Exception:
                log.exception("the callback for late answers failed", bank=self.bank.code)

    def _today(self) -> dt.date:
        return self._clock.now().astimezone(SHANGHAI).date()
