"""The one deadline of a stop: everything that is waited for on the way down shares it."""

from __future__ import annotations

from settlement.clock import Clock

LINKS_S = 0.5
CONNECTIONS_S = 1.0
LAST_STEPS_S = 3.0
"""What the steps after the deadline may take in all: a bank's last answers, signing off (1 s), closing connections."""


class Drain:
    """Counts down from the moment the stop begins. ``seconds``: how long what is under way may still take."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until: float | None = None

    def begin(self) -> None:
        """The stop begins now; a second call changes nothing."""
        if self._until is None:
            self._until = self._clock.monotonic() + self._seconds

    def left_s(self) -> float:
        """Seconds until the deadline, never negative; all of them before the stop begins."""
        return self._seconds if self._until is None else max(0.0, self._until - self._clock.monotonic())
