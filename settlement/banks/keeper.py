"""Keeping one link up: connect, sign on, fetch keys, echo when idle, probe when the circuit is open, and again."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Callable

import structlog

from settlement.banks import metrics
from settlement.banks.circuit import Circuit, CircuitState
from settlement.banks.directory import Bank
from settlement.banks.iso.codec import Message
from settlement.banks.restraint import BankLog
from settlement.banks.session import Session, SessionError
from settlement.banks.tuning import LinkTuning
from settlement.clock import Clock
from settlement.ids import IdSource

_CIRCUIT_GAUGE = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}
_LONGEST_NAP_S = 1.0
_SHORT_LIFE_S = 1.0
_SIGN_OFF_S = 1.0
_DOUBLINGS_MOST = 20

log = structlog.get_logger(__name__)


class LinkKeeper:
    """Holds the session that is in use, if there is one, and replaces it for as long as the link lives.

    Its waits run on the event loop's timers; ages and cool-downs are read from the injected clock.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        zone_key: bytes,
        clock: Clock,
        ids: IdSource,
        tuning: LinkTuning,
        bank_log: BankLog,
        on_unmatched: Callable[[Session, Message], None],
    ) -> None:
        self._bank = bank
        self._zone_key = zone_key
        self._clock = clock
        self._ids = ids
        self._tuning = tuning
        self._on_unmatched = on_unmatched
        self._ready = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._keys_wanted = False
        self._task: asyncio.Task[None] | None = None
        self._log = bank_log
        self.session: Session | None = None
        self.down_at = clock.monotonic()
        self.circuit = Circuit(tuning, clock, self._circuit_changed)
        self.since: dt.datetime = clock.now()
        self._circuit_changed(CircuitState.CLOSED)
        metrics.READY.labels(bank.code).set(0)

    @property
    def ready(self) -> bool:
        """Whether traffic can be sent."""
        return self._ready.is_set()

    def start(self) -> None:
        """Begin to connect, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"bank-link-{self._bank.code}")

    async def wait_ready(self, seconds: float) -> bool:
        """Wait until traffic can be sent; false when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        return self.ready

    async def stop(self) -> None:
        """Sign off, close, and connect no more."""
        self._stopping = True
        session = self.session
        if session is not None and not session.lost:
            with contextlib.suppress(SessionError, TimeoutError):
                async with asyncio.timeout(_SIGN_OFF_S):
                    await session.sign_off()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def want_keys(self) -> None:
        """Have the working keys changed: one side's key is not the other's."""
        self._keys_wanted = True
        self._wake.set()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                session = await self._connect()
            except Exception as error:  # whatever it was, the link must go on trying
                self.circuit.failure()
                failures += 1
                metrics.CONNECTS.labels(self._bank.code, "failed").inc()
                self._log.say(logging.WARNING, "bank link down", attempt=failures, reason=str(error) or repr(error))
                await self._back_off(failures)
                continue
            metrics.CONNECTS.labels(self._bank.code, "ok").inc()
            started = self._clock.monotonic()
            await self._serve(session)
            # A bank that signs on and hangs up at once, or breaks the protocol again and again, meets no tight loop.
            short_lived = self._clock.monotonic() - started < _SHORT_LIFE_S
            failures = failures + 1 if short_lived or session.breached else 0
            if failures:
                await self._back_off(failures)

    async def _connect(self) -> Session:
        session = Session(
            bank=self._bank,
            zone_key=self._zone_key,
            tuning=self._tuning,
            clock=self._clock,
            ids=self._ids,
            on_lost=self._session_lost,
            on_unmatched=self._on_unmatched,
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
        self.session = session
        self.since = self._clock.now()
        self._keys_wanted = False
        self.circuit.probe_passed()
        self._ready.set()
        metrics.READY.labels(self._bank.code).set(1)
        self._log.say(logging.INFO, "bank link up")
        try:
            await self._attend(session)
            self._log.say(logging.WARNING, "bank link lost", reason=session.lost_for)
        except SessionError as error:
            self._log.say(logging.WARNING, "bank link given up", reason=str(error))
        except Exception:  # a fault of ours; the link goes on with a new session
            log.exception("bank link failed", bank=self._bank.code)
        finally:
            self.session = None
            self._ready.clear()
            self.since = self._clock.now()
            metrics.READY.labels(self._bank.code).set(0)
            session.close()
            if session.breached and not session.blamed:
                session.blamed = True
                self.circuit.failure()

    def _session_lost(self) -> None:
        # At once, so that the next message waits for a new connection rather than meet the dead one.
        self._ready.clear()
        if self.session is not None:
            self.session = None
            self.down_at = self._clock.monotonic()
        self._wake.set()

    async def _attend(self, session: Session) -> None:
        """Probe, renew keys, echo. Raises ``SessionError`` to have the session replaced."""
        failed_probes = 0
        keys_changed_at = float("-inf")
        while not session.lost:
            now = self._clock.monotonic()
            probe_wait = self.circuit.probe_wait_s()
            keys_due = now - session.keys_at >= self._tuning.key_lifetime_s
            keys_asked = self._keys_wanted and now - keys_changed_at >= self._tuning.key_change_pause_s
            if probe_wait == 0:
                failed_probes = 0 if await self._probe(session) else failed_probes + 1
                if failed_probes >= self._tuning.probes_before_reconnect:
                    raise SessionError("no sign of life")
            elif keys_asked or keys_due:
                self._keys_wanted = False
                await session.change_keys()
                keys_changed_at = session.keys_at
            elif probe_wait is None and now - session.active_at >= self._tuning.echo_idle_s:
                await session.echo()
            else:
                idle_wait = self._tuning.echo_idle_s - (now - session.active_at)
                await self._nap(min(idle_wait if probe_wait is None else probe_wait, _LONGEST_NAP_S))

    async def _probe(self, session: Session) -> bool:
        try:
            await session.echo()
        except SessionError:
            self.circuit.probe_failed()
            return False
        self.circuit.probe_passed()
        return True

    def _circuit_changed(self, state: CircuitState) -> None:
        metrics.CIRCUIT.labels(self._bank.code).set(_CIRCUIT_GAUGE[state])
        if state is CircuitState.OPEN:
            self._log.say(logging.WARNING, "circuit open")
            self._wake.set()

    async def _back_off(self, failures: int) -> None:
        # Not a nap: what ends the failed session (its loss, the circuit) must not bring the next try nearer.
        await asyncio.sleep(self._backoff_s(failures))

    def _backoff_s(self, failures: int) -> float:
        """Doubles with each failure up to a limit; between half and all of it, by chance."""
        doubled: float = self._tuning.backoff_first_s * 2.0 ** min(failures - 1, _DOUBLINGS_MOST)
        chance = int.from_bytes(self._ids.token(2), "big") / 0xFFFF
        return min(doubled, self._tuning.backoff_most_s) * (0.5 + chance / 2)

    async def _nap(self, seconds: float) -> None:
        """Wait, but no longer than until something happens that must be seen to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._wake.wait()
        self._wake.clear()
