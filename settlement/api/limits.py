"""How much the service takes on at once: refuse early and clearly instead of queueing without bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from settlement.api import metrics
from settlement.config import Settings
from settlement.errors import ServiceError

RETRY_AFTER_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one process. Times in seconds.

    ``in_flight_max``: requests worked on at once. ``in_flight_per_terminal_max``: of those, by one terminal.
    ``receiving_max``: bodies being received at once. ``sign_in_max``: enrolments and sign-ins at once.
    """

    body_bytes_max: int = 1_048_576
    in_flight_max: int = 512
    in_flight_per_terminal_max: int = 128
    receiving_max: int = 1_024
    sign_in_max: int = 64
    body_timeout_s: float = 10.0
    handler_timeout_s: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that follow from the settings."""
        most = settings.max_in_flight
        return cls(
            body_bytes_max=settings.max_body_bytes,
            in_flight_max=most,
            # one terminal alone never fills the service, though a kiosk server may well send many bills at once
            in_flight_per_terminal_max=max(1, most // 4),
            receiving_max=2 * most,
            sign_in_max=max(1, min(64, most // 4)),
        )


class Slot:
    """One request's place among those in flight; ``release`` may be called more than once."""

    def __init__(self, admission: Admission, terminal: str) -> None:
        self._admission: Admission | None = admission
        self._terminal = terminal

    def release(self) -> None:
        """Give the place back."""
        if self._admission is not None:
            self._admission._leave(self._terminal)  # the two are one thing
            self._admission = None


class Admission:
    """Counts what is under way and refuses what is too much."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._in_flight: Counter[str] = Counter()
        self._total = 0
        self._receiving = 0
        self._signing_in = 0
        self._closing = False

    @property
    def in_flight(self) -> int:
        """How many authenticated requests are worked on, also those whose client has been answered 504."""
        return self._total

    @property
    def closing(self) -> bool:
        """The service takes no new requests because it stops."""
        return self._closing

    def close(self) -> None:
        """Take no new requests from now on (NOT_READY); those under way go on."""
        self._closing = True

    def enter(self, terminal: str) -> Slot:
        """A place for a request of a terminal. Raises NOT_READY, TERMINAL_FLOODING or OVERLOADED."""
        if self._closing:
            raise ServiceError("NOT_READY", "The service is stopping.", retry_after_ms=RETRY_AFTER_MS)
        if self._in_flight[terminal] >= self.limits.in_flight_per_terminal_max:
            raise ServiceError("TERMINAL_FLOODING", retry_after_ms=RETRY_AFTER_MS)
        if self._total >= self.limits.in_flight_max:
            raise ServiceError("OVERLOADED", retry_after_ms=RETRY_AFTER_MS)
        self._in_flight[terminal] += 1
        self._total += 1
        metrics.IN_FLIGHT.inc()
        return Slot(self, terminal)

    def _leave(self, terminal: str) -> None:
        self._in_flight[terminal] -= 1
        if not self._in_flight[terminal]:
            del self._in_flight[terminal]
        self._total -= 1
        metrics.IN_FLIGHT.dec()

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """A place for a body on its way in. Raises OVERLOADED."""
        if self._receiving >= self.limits.receiving_max:
            raise ServiceError("OVERLOADED", retry_after_ms=RETRY_AFTER_MS)
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    @contextmanager
    def signing_in(self) -> Iterator[None]:
        """A place for an enrolment or sign-in, apart from those of bills: anybody may try. Raises OVERLOADED."""
        if self._closing:
            raise ServiceError("NOT_READY", "The service is stopping.", retry_after_ms=RETRY_AFTER_MS)
        if self._signing_in >= self.limits.sign_in_max:
            raise ServiceError("OVERLOADED", retry_after_ms=RETRY_AFTER_MS)
        self._signing_in += 1
        try:
            yield
        finally:
            self._signing_in -= 1
