"""The circuit breaker of one link: after too many failures in a row nothing is sent until the bank answers again."""

from __future__ import annotations

import enum
from collections.abc import Callable

from settlement.banks.tuning import LinkTuning
from settlement.clock import Clock


class CircuitState(enum.StrEnum):
    """``closed``: traffic flows · ``open``: nothing is sent · ``half_open``: a probe has passed, and a few messages at
    a time find out whether traffic is answered too."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Circuit:
    """Counts failures in a row (time-outs, worthless answers, failed connects, connections lost under traffic).

    A message is admitted with the number of the present spell. What becomes of it counts only while that spell lasts:
    two hundred messages that time out together open the circuit once, and say nothing about what came after.
    """

    def __init__(self, tuning: LinkTuning, clock: Clock, on_change: Callable[[CircuitState], None]) -> None:
        self._tuning = tuning
        self._clock = clock
        self._on_change = on_change
        self._state = CircuitState.CLOSED
        self._spell = 0
        self._failures = 0
        self._on_trial = 0
        self._cool_down = tuning.circuit_cool_down_first_s
        self._probe_at = 0.0

    @property
    def state(self) -> CircuitState:
        """The present state."""
        return self._state

    def admit(self) -> int | None:
        """The number of the spell in which a message may be sent, None when it may not. ``leave`` gives it back."""
        if self._state is CircuitState.OPEN:
            return None
        if self._state is CircuitState.HALF_OPEN:
            if self._on_trial >= self._tuning.circuit_threshold:
                return None
            self._on_trial += 1
        return self._spell

    def leave(self, spell: int) -> None:
        """A message is over, whatever came of it."""
        if spell == self._spell and self._state is CircuitState.HALF_OPEN:
            self._on_trial -= 1

    def success(self, spell: int) -> None:
        """A valid answer came to a message. It closes a half-open circuit."""
        if spell != self._spell:
            return
        self._failures = 0
        if self._state is CircuitState.HALF_OPEN:
            self._cool_down = self._tuning.circuit_cool_down_first_s
            self._move(CircuitState.CLOSED)

    def failure(self, spell: int | None = None) -> None:
        """A message failed, or (no spell) a connect or the connection itself."""
        if self._state is CircuitState.OPEN or spell not in {None, self._spell}:
            return
        self._failures += 1
        if self._state is CircuitState.HALF_OPEN:
            self._open(longer=True)
        elif self._failures >= self._tuning.circuit_threshold:
            self._open()

    def probe_wait_s(self) -> float | None:
        """Seconds until a probe is due, 0 when it is, None when none is needed."""
        if self._state is not CircuitState.OPEN:
            return None
        return max(0.0, self._probe_at - self._clock.monotonic())

    def probe_passed(self) -> None:
        """The bank has answered an echo, or a sign-on, after the wait; now traffic must show the same."""
        if self.probe_wait_s() == 0:
            self._on_trial = 0
            self._move(CircuitState.HALF_OPEN)

    def probe_failed(self) -> None:
        """It has not."""
        if self._state is CircuitState.OPEN:
            self._open(longer=True)

    def _open(self, *, longer: bool = False) -> None:
        if longer:
            self._cool_down = min(self._cool_down * 2, self._tuning.circuit_cool_down_most_s)
        self._failures = 0
        self._probe_at = self._clock.monotonic() + self._cool_down
        self._move(CircuitState.OPEN)

    def _move(self, state: CircuitState) -> None:
        self._spell += 1
        self._state = state
        self._on_change(state)
