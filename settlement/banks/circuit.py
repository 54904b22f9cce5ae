"""The circuit breaker of one link: after too many failures in a row nothing is sent until a probe has passed."""

from __future__ import annotations

import enum
from collections.abc import Callable

from settlement.banks.tuning import LinkTuning
from settlement.clock import Clock


class CircuitState(enum.StrEnum):
    """``closed``: traffic flows · ``open``: nothing is sent · ``half_open``: one probe is under way."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Circuit:
    """Counts failures in a row (time-outs, failed connects, connections lost under traffic)."""

    def __init__(self, tuning: LinkTuning, clock: Clock, on_change: Callable[[CircuitState], None]) -> None:
        self._tuning = tuning
        self._clock = clock
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._cool_down = tuning.circuit_cool_down_first_s
        self._probe_at = 0.0

    @property
    def state(self) -> CircuitState:
        """The present state."""
        return self._state

    @property
    def lets_through(self) -> bool:
        """Whether traffic may be sent."""
        return self._state is CircuitState.CLOSED

    def failure(self) -> None:
        """A message, a connect or a probe failed."""
        self._failures += 1
        if self._state is CircuitState.HALF_OPEN:
            self._cool_down = min(self._cool_down * 2, self._tuning.circuit_cool_down_most_s)
            self._open()
        elif self._state is CircuitState.CLOSED and self._failures >= self._tuning.circuit_threshold:
            self._open()

    def success(self) -> None:
        """A valid answer came. It does not close an open circuit: only a probe does."""
        if self._state is CircuitState.CLOSED:
            self._failures = 0

    def probe_wait_s(self) -> float | None:
        """Seconds until a probe is due, 0 when it is, None when none is needed."""
        if self._state is not CircuitState.OPEN:
            return None
        return max(0.0, self._probe_at - self._clock.monotonic())

    def probing(self) -> None:
        """A probe is being sent."""
        self._move(CircuitState.HALF_OPEN)

    def close(self) -> None:
        """A probe, or signing on anew, has passed."""
        self._cool_down = self._tuning.circuit_cool_down_first_s
        if self._state is not CircuitState.CLOSED:
            self._failures = 0
            self._move(CircuitState.CLOSED)

    def _open(self) -> None:
        self._probe_at = self._clock.monotonic() + self._cool_down
        self._move(CircuitState.OPEN)

    def _move(self, state: CircuitState) -> None:
        self._state = state
        self._on_change(state)
