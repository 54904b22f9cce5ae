"""The link to one bank: one persistent, multiplexed TCP connection, kept up, watched and limited."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from dataclasses import dataclass

import structlog

from settlement.banks import metrics
from settlement.banks.circuit import Circuit, CircuitState
from settlement.banks.codes import MAC_REFUSED, Verb
from settlement.banks.directory import Bank
from settlement.banks.iso.codec import Message, MessageError, pack
from settlement.banks.iso.dates import CHINA
from settlement.banks.messages import OrderError, build, judge
from settlement.banks.port import BankAnswer, BankOrder, BankOutcome
from settlement.banks.session import Failure, Session, SessionError
from settlement.banks.tuning import LinkTuning
from settlement.banks.unmatched import LateCallback, RecentRequests
from settlement.clock import Clock
from settlement.ids import IdSource

_CIRCUIT_GAUGE = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}
_LONGEST_NAP_S = 1.0
_SHORT_LIFE_S = 1.0

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

    ``on_late`` is called on the event loop for valid answers that came too late or twice; it must not block.
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
        self._zone_key = zone_key
        self._acquirer = acquirer
        self._clock = clock
        self._ids = ids
        self._tuning = tuning or LinkTuning()
        self._on_late = on_late
        self._recent = RecentRequests(self._tuning.recent_limit)
        self._circuit = Circuit(self._tuning, clock, self._circuit_changed)
        self._session: Session | None = None
        self._ready = asyncio.Event()
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._stopping = False
        self._keys_wanted = False
        self._task: asyncio.Task[None] | None = None
        self._since = clock.now()
        self._circuit_changed(CircuitState.CLOSED)
        metrics.READY.labels(bank.code).set(0)
        metrics.IN_FLIGHT.labels(bank.code).set(0)

    def state(self) -> LinkState:
        """The link as it is now."""
        return LinkState(self.bank.code, self._ready.is_set(), self._circuit.state, self._in_flight, self._since)

    def start(self) -> None:
        """Begin to connect, in the background, for as long as the link lives."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"bank-link-{self.bank.code}")

    async def wait_ready(self, seconds: float) -> bool:
        """Wait until the link can carry traffic; false when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        return self._ready.is_set()

    async def stop(self, drain_s: float = 5.0) -> None:
        """Take no more messages, wait for those under way (so long at most), sign off and close."""
        self._stopping = True
        until = asyncio.get_running_loop().time() + drain_s
        while self._in_flight and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.01)
        self._wake.set()
        session = self._session
        if session is not None and not session.lost:
            with contextlib.suppress(SessionError, TimeoutError):
                async with asyncio.timeout(min(1.0, self._tuning.echo_timeout_s)):
                    await session.sign_off()
            session.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # ---- messages -------------------------------------------------------------------------------------------------

    async def exchange(self, verb: Verb, order: BankOrder, send_before: float) -> BankAnswer:
        """Send one message and say what came of it. Never raises for the bank or the network."""
        answer = await self._limited(verb, order, send_before)
        metrics.REQUESTS.labels(self.bank.code, verb, answer.outcome, answer.detail).inc()
        if answer.outcome in {BankOutcome.UNKNOWN, BankOutcome.NOT_SENT}:
            log.warning(
                "bank message without a conclusive answer",
                bank=self.bank.code,
                verb=str(verb),
                outcome=str(answer.outcome),
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
        if not self._circuit.lets_through:
            return _not_sent("circuit_open")
        self._count(+1)
        try:
            return await self._send(verb, order, send_before)
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        self._in_flight += step
        metrics.IN_FLIGHT.labels(self.bank.code).set(self._in_flight)

    async def _send(self, verb: Verb, order: BankOrder, send_before: float) -> BankAnswer:
        session = await self._ready_session(send_before)
        if session is None:
            return _not_sent("not_connected" if self._circuit.lets_through else "circuit_open")
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
        reply = await session.request(
            expected.key, body, send_before=send_before, timeout_s=self.bank.timeout_ms / 1_000
        )
        if isinstance(reply, Failure):
            return self._failed(reply)
        self._recent.answered(expected)
        answer = judge(expected, reply, session.mac_key_of(reply), self._today())
        metrics.LATENCY.labels(self.bank.code, verb).observe(max(0.0, self._clock.monotonic() - started))
        self._learn(answer)
        return answer

    async def _ready_session(self, send_before: float) -> Session | None:
        if self._session is None:
            patience = min(self._tuning.connect_wait_s, send_before - self._clock.monotonic())
            if patience > 0:
                await self.wait_ready(patience)
        return self._session

    def _failed(self, failure: Failure) -> BankAnswer:
        if not failure.sent:
            return _not_sent(failure.detail)
        if failure.detail == "timeout":
            self._circuit.failure()
        return _unknown(failure.detail)

    def _learn(self, answer: BankAnswer) -> None:
        """What an answer says about the link itself."""
        if answer.outcome is BankOutcome.UNKNOWN and answer.detail:
            metrics.REJECTED.labels(self.bank.code, answer.detail).inc()
        if answer.detail == "bad_mac" or answer.response_code == MAC_REFUSED:
            # One side's key is not the other's: ask for new ones rather than refuse every message from now on.
            self._keys_wanted = True
            self._wake.set()
        else:
            self._circuit.success()

    def _unmatched(self, session: Session, message: Message) -> None:
        kind, late = self._recent.classify(message, session.mac_key_of(message), self._today())
        metrics.UNMATCHED.labels(self.bank.code, kind).inc()
        log.warning("unmatched answer", bank=self.bank.code, kind=kind, mti=message.mti)
        if late is not None and self._on_late is not None:
            try:
                self._on_late(late)
            except Exception:
                log.exception("the callback for late answers failed", bank=self.bank.code)

    def _today(self) -> dt.date:
        return self._clock.now().astimezone(CHINA).date()

    # ---- keeping the connection up --------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                session = await self._connect()
            except Exception as error:  # whatever it was, the link must go on trying
                self._circuit.failure()
                failures += 1
                metrics.CONNECTS.labels(self.bank.code, "failed").inc()
                log.warning("bank link down", bank=self.bank.code, attempt=failures, reason=str(error) or repr(error))
                await self._nap(self._backoff_s(failures))
                continue
            metrics.CONNECTS.labels(self.bank.code, "ok").inc()
            started = self._clock.monotonic()
            await self._serve(session)
            # A bank that signs on and hangs up at once is not met with a tight loop.
            short_lived = self._clock.monotonic() - started < _SHORT_LIFE_S
            failures = failures + 1 if short_lived else 0
            if failures:
                await self._nap(self._backoff_s(failures))

    async def _connect(self) -> Session:
        session = Session(
            bank=self.bank,
            zone_key=self._zone_key,
            tuning=self._tuning,
            clock=self._clock,
            ids=self._ids,
            on_lost=self._wake.set,
            on_unmatched=self._unmatched,
        )
        try:
            async with asyncio.timeout(self._tuning.connect_timeout_s):
                await session.open()
        except BaseException:
            session.close()
            raise
        return session

    async def _serve(self, session: Session) -> None:
        """Let traffic use the session until its connection is gone."""
        self._session = session
        self._since = self._clock.now()
        self._circuit.close()
        self._keys_wanted = False
        self._ready.set()
        metrics.READY.labels(self.bank.code).set(1)
        log.info("bank link up", bank=self.bank.code, key_generation=session.keys.generation)
        try:
            await self._attend(session)
        except SessionError as error:
            log.warning("bank link given up", bank=self.bank.code, reason=str(error))
        finally:
            self._session = None
            self._ready.clear()
            self._since = self._clock.now()
            metrics.READY.labels(self.bank.code).set(0)
            session.close()
            if self._in_flight and not self._stopping:
                self._circuit.failure()

    async def _attend(self, session: Session) -> None:
        """Probe when the circuit is open, renew keys, echo when idle. Raises ``SessionError`` to have it replaced."""
        failed_probes = 0
        keys_changed_at = session.keys_at
        while not session.lost and not self._stopping:
            now = self._clock.monotonic()
            wanted = self._keys_wanted and now - keys_changed_at >= self._tuning.key_change_pause_s
            probe_wait = self._circuit.probe_wait_s()
            if probe_wait == 0:
                failed_probes = 0 if await self._probe(session) else failed_probes + 1
                if failed_probes >= self._tuning.probes_before_reconnect:
                    raise SessionError("no sign of life")
            elif wanted or now - session.keys_at >= self._tuning.key_lifetime_s:
                self._keys_wanted = False
                await session.change_keys()
                keys_changed_at = session.keys_at
            elif probe_wait is None and now - session.active_at >= self._tuning.echo_idle_s:
                await session.echo()
            else:
                idle_wait = self._tuning.echo_idle_s - (now - session.active_at)
                await self._nap(min(idle_wait if probe_wait is None else probe_wait, _LONGEST_NAP_S))

    async def _probe(self, session: Session) -> bool:
        self._circuit.probing()
        try:
            await session.echo()
        except SessionError:
            self._circuit.failure()
            return False
        self._circuit.close()
        return True

    def _circuit_changed(self, state: CircuitState) -> None:
        metrics.CIRCUIT.labels(self.bank.code).set(_CIRCUIT_GAUGE[state])
        if state is CircuitState.OPEN:
            log.warning("circuit open", bank=self.bank.code)
            self._wake.set()

    def _backoff_s(self, failures: int) -> float:
        """Doubles with each failure up to a limit; between half and all of it, by chance."""
        most = min(self._tuning.backoff_first_s * 2 ** min(failures - 1, 20), self._tuning.backoff_most_s)
        chance = int.from_bytes(self._ids.token(2), "big") / 0xFFFF
        return most * (0.5 + chance / 2)

    async def _nap(self, seconds: float) -> None:
        """Wait, but no longer than until something happens that the keeper of the link must see."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._wake.wait()
        self._wake.clear()
