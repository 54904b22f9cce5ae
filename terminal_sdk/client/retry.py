"""How often, how long and at what distance the client tries: every loop of it is bounded by these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terminal_sdk.client.transport import NoAnswer
from terminal_sdk.clock import Clock

_DOUBLINGS_MAX = 60
"""More would only make the number too large to count with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits of one call. Times are seconds.

    ``patience_s``: the whole call, after which a settlement is ``NotYetKnown`` · ``sends_max``: sends in a round ·
    ``rounds_max``: rounds of (sends, then the question for the status) · ``backoff_first_s`` doubles up to
    ``backoff_max_s``, each wait shortened at random by up to a half · ``connect_timeout_s``: to reach the service ·
    ``answer_timeout_s``: to answer, on top of the ``wait_ms`` that a settlement grants ·
    ``retry_after_max_s``: the longest Retry-After that is obeyed · ``answer_bytes_max``: larger answers are cut off.
    """

    patience_s: float = 45.0
    sends_max: int = 4
    rounds_max: int = 2
    backoff_first_s: float = 0.25
    backoff_max_s: float = 4.0
    connect_timeout_s: float = 4.0
    answer_timeout_s: float = 6.0
    retry_after_max_s: float = 20.0
    answer_bytes_max: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPolicy:
    """How what is owed is forwarded. Times are seconds. There is no last try.

    ``try_s``: the whole of one try · ``backoff_first_s``: from a failed try to the next; doubles up to
    ``backoff_max_s``, each distance shortened at random by up to a half · ``retry_after_max_s``: the longest
    Retry-After that is obeyed · ``idle_s``: how often the journal is looked into for what other programs of this
    till wrote.
    """

    try_s: float = 20.0
    backoff_first_s: float = 1.0
    backoff_max_s: float = 300.0
    retry_after_max_s: float = 600.0
    idle_s: float = 2.0

    def distance_s(self, failures: int, random: float, retry_after_s: float | None = None) -> float:
        """How long to wait after so many failures running (one or more); ``random`` in [0, 1)."""
        doublings = min(failures - 1, _DOUBLINGS_MAX)
        backoff = min(self.backoff_max_s, self.backoff_first_s * 2.0**doublings) * (1.0 - random / 2)
        return max(backoff, min(retry_after_s or 0.0, self.retry_after_max_s))


class Patience:
    """The time that is left for one call."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._until = clock.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds left; zero or less when it is over."""
        return self._until - self._clock.monotonic()

    async def sleep(self, seconds: float) -> bool:
        """Wait, unless that would outlast the patience: then return False at once."""
        if seconds >= self.left_s:
            return False
        await self._clock.sleep(seconds)
        return True


class Tries:
    """Counts and spaces the tries of one round. ``hopeless``: the same trouble with the session came twice running.

    ``single``: try a second time only where a new sign-in mends it.
    """

    def __init__(
        self, policy: RetryPolicy, patience: Patience, random: Callable[[], float], *, single: bool = False
    ) -> None:
        self._policy = policy
        self._patience = patience
        self._random = random
        self._single = single
        self._made = 0
        self._session_code: str | None = None
        self.hopeless = False

    def timeout_s(self, granted_s: float = 0.0) -> float:
        """The time-out of the next try: the policy's and what the service was granted, within the patience."""
        return max(0.001, min(self._policy.answer_timeout_s + granted_s, self._patience.left_s))

    async def again(self, failure: NoAnswer) -> bool:
        """Take note of a failed try and wait for the next one; False when there is none."""
        # A new session did not mend it, so another one will not either.
        self.hopeless = failure.session_code is not None and failure.session_code == self._session_code
        self._session_code = failure.session_code
        self._made += 1
        if self._made >= self._policy.sends_max or self.hopeless:
            return False
        if self._single and failure.session_code is None:
            return False
        return await self._patience.sleep(self._distance_s(failure))

    def _distance_s(self, failure: NoAnswer) -> float:
        if failure.session_code is not None:
            return 0.0  # a new sign-in mends it; there is nothing to wait for
        backoff = min(self._policy.backoff_max_s, self._policy.backoff_first_s * 2.0 ** (self._made - 1))
        backoff *= 1.0 - self._random() / 2
        asked = min(failure.retry_after_s or 0.0, self._policy.retry_after_max_s)
        return max(backoff, asked)
