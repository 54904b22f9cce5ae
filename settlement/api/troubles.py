"""What requests have met at the database lately, for /readyz: a disk that is full shows only to those who write."""

from __future__ import annotations

from collections.abc import Callable

from settlement.db.outages import OUTAGES, reason

REMEMBERED_S = 5.0
"""So long after the last failure the service calls itself ready again, and the next request finds out."""


class Troubles:
    """The last failure and when it was. ``now``: monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._reason = ""
        self._until = 0.0

    def note(self, error: BaseException) -> None:
        """A request failed; of interest if the database was the cause."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OUTAGES):
            cause = cause.__cause__
        if cause is not None:
            self._reason, self._until = reason(cause), self._now() + REMEMBERED_S

    def reasons(self) -> list[str]:
        """Why no bill can be settled now, as far as requests have met it; empty when nothing is known."""
        return [self._reason] if self._now() < self._until else []
