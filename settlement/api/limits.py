"""How much the service takes on at once: refuse early and clearly instead of queueing without bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from settlement.api import metrics
from settlement.api.line import RETRY_AFTER_MS, Line, LineLimits, Urgency
from settlement.api.rates import Rates
from settlement.api.troubles import Troubles
from settlement.config import Settings
from settlement.errors import ServiceError

_URGENT_SHARE = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one process. Times in seconds.

    ``in_flight_max``: requests under way at once, those in line and those waiting for a bank included; undo and status
    may exceed it by a quarter · ``in_flight_per_terminal_max``: of those, by one terminal · ``line``: of those, worked
    on · ``parked_max``: of those, waiting for a bank; ``parked_per_bank_max``: for one bank · ``receiving_max``: bodies
    being received at once, ``receiving_large_max``: of those, larger than ``large_body_bytes`` or of unknown size ·
    ``sign_in_max``: enrolments and sign-ins at once · ``terminal_rate``: requests per second of one terminal in the
    long run, ``terminal_burst`` at once; beyond it a refusal is held back for ``hold_back_s``, ``held_back_max`` at a
    time.
    """

    body_bytes_max: int = 1_048_576
    in_flight_max: int = 512
    in_flight_per_terminal_max: int = 128
    line: LineLimits = field(default_factory=LineLimits)
    parked_max: int = 256
    parked_per_bank_max: int = 64
    receiving_max: int = 1_024
    receiving_large_max: int = 64
    large_body_bytes: int = 65_536
    sign_in_max: int = 64
    terminal_rate: float = 300.0
    terminal_burst: int = 600
    held_back_max: int = 256
    hold_back_s: float = 0.25
    body_timeout_s: float = 10.0
    handler_timeout_s: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that follow from the settings."""
        most, places = settings.max_in_flight, min(settings.max_working, settings.max_in_flight)
        return cls(
            body_bytes_max=settings.max_body_bytes,
            in_flight_max=most,
            # one terminal alone never fills the service, though a kiosk server may well send many bills at once
            in_flight_per_terminal_max=max(1, most // 4),
            line=LineLimits(
                places=places,
                places_reserved=places // 8,
                places_per_terminal=max(1, places // 8),
                waiting_max=max(1, most // 2),
            ),
            parked_max=max(1, most // 2),
            # a bank that is silent, and even three of them, leave the others room to wait
            parked_per_bank_max=max(1, most // 8),
            receiving_max=2 * most,
            receiving_large_max=max(1, most // 8),
            sign_in_max=max(1, min(64, most // 4)),
        )


class Slot:
    """One request's place among those in flight; ``release`` may be called more than once."""

    def __init__(self, admission: Admission, terminal: str, urgency: Urgency) -> None:
        self._admission: Admission | None = admission
        self._terminal = terminal
        self._urgency = urgency
        self._at_work = False

    async def work(self) -> None:
        """Stand in line for the work. Raises OVERLOADED or TERMINAL_FLOODING; then the place is given back."""
        assert self._admission is not None  # noqa: S101 - nobody works after the release
        try:
            with metrics.WAITING.track_inprogress():
                await self._admission.line.enter(self._urgency, self._terminal)
        except BaseException:
            self.release()
            raise
        self._at_work = True
        metrics.WORKING.inc()

    @contextmanager
    def parked(self, bank: str) -> Iterator[bool]:
        """While the request only waits for a bank, its place at work is another's. False: too many wait already, for
        this bank or in all; answer what is known now.
        """
        if self._admission is None or not self._admission.park(bank):
            yield False
            return
        admission = self._admission
        self._rest(admission)
        try:
            yield True
        finally:
            admission.unpark(bank)

    def release(self) -> None:
        """Give the place back."""
        if self._admission is not None:
            self._rest(self._admission)
            self._admission._leave(self._terminal)  # the two are one thing
            self._admission = None

    def _rest(self, admission: Admission) -> None:
        if self._at_work:
            self._at_work = False
            metrics.WORKING.dec()
            admission.line.leave(self._urgency, self._terminal)


class Admission:
    """Counts what is under way and refuses what is too much. ``now``: monotonic seconds."""

    def __init__(self, limits: Limits, now: Callable[[], float] = monotonic) -> None:
        self.limits = limits
        self.line = Line(limits.line, now)
        self.troubles = Troubles(now)
        self.rates = Rates(limits.terminal_rate, limits.terminal_burst, now)
        self._in_flight: Counter[str] = Counter()
        self._total = 0
        self._receiving: Counter[bool] = Counter()
        self._parked: Counter[str] = Counter()
        self._signing_in = 0
        self._held_back = 0
        self._closing = False

    @property
    def in_flight(self) -> int:
        """How many authenticated requests are under way, also those whose client has been answered 504."""
        return self._total

    @property
    def closing(self) -> bool:
        """The service takes no new requests because it stops."""
        return self._closing

    def close(self) -> None:
        """Take no new requests from now on (NOT_READY); those under way go on."""
        self._closing = True

    def enter(self, terminal: str, urgency: Urgency = Urgency.BILL) -> Slot:
        """A place for a request of a terminal. Raises NOT_READY, TERMINAL_FLOODING or OVERLOADED."""
        self._refuse_when_closing()
        if self._in_flight[terminal] >= self.limits.in_flight_per_terminal_max:
            raise ServiceError("TERMINAL_FLOODING", retry_after_ms=RETRY_AFTER_MS)
        if self._total >= self.limits.in_flight_max * (1.0 if urgency is Urgency.BILL else _URGENT_SHARE):
            raise _overloaded()
        self._in_flight[terminal] += 1
        self._total += 1
        metrics.IN_FLIGHT.inc()
        return Slot(self, terminal, urgency)

    def _leave(self, terminal: str) -> None:
        self._in_flight[terminal] -= 1
        if not self._in_flight[terminal]:
            del self._in_flight[terminal]
        self._total -= 1
        metrics.IN_FLIGHT.dec()

    def park(self, bank: str) -> bool:
        """Note that a request waits for a bank, unless too many do; ``unpark`` ends it."""
        if self._parked.total() >= self.limits.parked_max or self._parked[bank] >= self.limits.parked_per_bank_max:
            return False
        self._parked[bank] += 1
        metrics.PARKED.inc()
        return True

    def unpark(self, bank: str) -> None:
        """It waits no longer."""
        metrics.PARKED.dec()
        self._parked[bank] -= 1
        if not self._parked[bank]:
            del self._parked[bank]

    @contextmanager
    def receiving(self, size: int | None, urgency: Urgency = Urgency.BILL) -> Iterator[None]:
        """A place for a body on its way in. ``size``: as declared, in bytes; None: not declared. Raises OVERLOADED, for
        a large body of a bill also when no more bills can be served now.
        """
        large = size is None or size > self.limits.large_body_bytes
        if large and urgency is Urgency.BILL and self.line.standing:
            raise _overloaded()
        if self._receiving[large] >= (self.limits.receiving_large_max if large else self.limits.receiving_max):
            raise _overloaded()
        self._receiving[large] += 1
        try:
            yield
        finally:
            self._receiving[large] -= 1

    @contextmanager
    def signing_in(self) -> Iterator[None]:
        """A place for an enrolment or sign-in, apart from those of bills: anybody may try. Raises OVERLOADED."""
        self._refuse_when_closing()
        if self._signing_in >= self.limits.sign_in_max:
            raise _overloaded()
        self._signing_in += 1
        try:
            yield
        finally:
            self._signing_in -= 1

    @contextmanager
    def holding_back(self) -> Iterator[float]:
        """Around a refusal that is held back; how long, in seconds: not at all when too many are."""
        if self._held_back >= self.limits.held_back_max:
            yield 0.0
            return
        self._held_back += 1
        try:
            yield self.limits.hold_back_s
        finally:
            self._held_back -= 1

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise ServiceError("NOT_READY", "The service is stopping.", retry_after_ms=RETRY_AFTER_MS)


def _overloaded() -> ServiceError:
    return ServiceError("OVERLOADED", retry_after_ms=RETRY_AFTER_MS)
