"""What a till saw of one bill, from the patient's tap to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.plan import Arrival
from loadtest.prepared import Signed
from terminal_sdk import Declined, Refused, Result, ReversalResult, Reversed, Settled

Outcome = str
"""``settled``, ``declined``, ``reversed``, ``not yet known``, ``refused CODE`` or ``error Type``."""


@dataclass(slots=True, kw_only=True)
class Visit:
    """One bill. All times in ms from the beginning of the run.

    ``due_ms``: when its card was free, or as planned, whichever was later; ``started_ms``: when the till began.
    ``answered_ms``: the first result; ``settled_ms``: when the till knew that the bill was settled.
    ``result`` is the last one, ``first`` the outcome of the first. ``problems``: answers that contradict each other.
    """

    arrival: Arrival
    due_ms: float
    started_ms: float
    key: str
    answered_ms: float | None = None
    settled_ms: float | None = None
    first: Outcome = "never answered"
    result: Result | None = None
    reversal: ReversalResult | None = None
    repeats: int = 0
    signed: Signed | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def late_ms(self) -> float:
        """How late the generator began: its own fault, not the service's."""
        return max(0.0, self.started_ms - self.due_ms)

    @property
    def card_wait_ms(self) -> float:
        """How long the card was still in use elsewhere after its planned moment."""
        return self.due_ms - self.arrival.at_ms

    @property
    def taken_back(self) -> bool:
        """Whether the till has seen the bill reversed."""
        return isinstance(self.reversal, Reversed) or isinstance(self.result, Reversed)

    @property
    def outcome(self) -> Outcome:
        """What became of it in the end, as the till knows it."""
        if self.taken_back:
            return "reversed"
        return self.first if self.result is None else outcome_of(self.result)

    def note(self, result: Result, now_ms: float) -> None:
        """Take a result of this bill: the first one counts for its outcome, the first settled one for its time."""
        if self.answered_ms is None:
            self.answered_ms, self.first = now_ms, outcome_of(result)
        if isinstance(result, Settled) and self.settled_ms is None:
            self.settled_ms = now_ms
        self.result = result


def outcome_of(result: Result | ReversalResult) -> Outcome:
    """A result in a word."""
    match result:
        case Settled():
            return "settled"
        case Declined():
            return "declined"
        case Reversed():
            return "reversed"
        case Refused():
            return f"refused {result.code}"
        case _:
            return "not yet known"
