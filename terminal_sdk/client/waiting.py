"""What a till is not done with, for whoever stands at it: asked of the journal alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from terminal_sdk.journal import Journal, JournalEntry, Operation, Outcome

Need = Literal["send", "learn", "hand_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One thing that waits. ``need``: what is left to be done.

    ``"send"``: the service has still to hear of it; a forwarder does that · ``"learn"``: the bill may be paid or not;
    ``wait``, ``reverse``, or after a restart ``resume`` · ``"hand_out"``: it has ended (``outcome``), and was never
    told or printed. ``since``: when it was written, or when it ended · ``tries``, ``last_error`` (a stable word, see
    ``error_in_words``) and ``next_try_at`` (None: whenever a forwarder runs) tell of the tries so far.
    """

    need: Need
    idempotency_key: str
    operation: Operation
    bill: str
    settlement_id: str | None
    since: dt.datetime
    outcome: Outcome | None
    tries: int
    last_error: str | None
    tried_at: dt.datetime | None
    next_try_at: dt.datetime | None


def waiting_in(journal: Journal) -> list[Waiting]:
    """All that waits in a journal, oldest first. Raises ``JournalError``."""
    entries = [*journal.open_entries(), *journal.not_handed_out()]
    return [_waiting(entry) for entry in sorted(entries, key=lambda entry: entry.number)]


def error_in_words(error: str) -> str:
    """A stable word for why there was no answer, as a sentence for people."""
    if error.startswith(_SIGN_IN):
        return f"The sign-in failed. {error_in_words(error.removeprefix(_SIGN_IN))}"
    for word, sentence in _WORDS.items():
        if word in error:
            return sentence
    return f"The service gave no answer that counts ({error})."


_SIGN_IN = "sign-in: "
_WORDS = {
    "behind an earlier one": "It waits for what the same bill owed before it.",
    "OVERLOADED": "The service is at its limit and asked to wait.",
    "NOT_READY": "The service is not ready and asked to wait.",
    "TERMINAL_FLOODING": "This terminal has too many requests under way.",
    "TIMED_OUT": "The service works on it still.",
    "OUTCOME_UNKNOWN": "The service does not know yet what became of it.",
    "TERMINAL_SUSPENDED": "This terminal is suspended; call the operator.",
    "INSTITUTION_SUSPENDED": "This terminal's institution is suspended; call the operator.",
    "PERSON_BUSY": "Another bill of this person is being settled.",
    "SETTLEMENT_UNKNOWN": "The service does not know the bill; it may still be on its way.",
    "REFUND_TOO_EARLY": "The bill is not settled yet.",
    "timeout": "The service did not answer in time.",
    "connection lost": "The connection was lost before an answer came.",
    "connection": "The service cannot be reached.",
    "unproven": "Something in between answered in the service's place.",
    "pending": "The bank has not answered yet.",
    "journal": "The journal cannot be written.",
    "cannot be sent": "Its request cannot be sent again; it is asked for, and can be taken back.",
}
"""The first word that occurs in the reason counts."""


def _waiting(entry: JournalEntry) -> Waiting:
    need: Need = "hand_out" if entry.state == "answered" else "send" if entry.is_owed else "learn"
    return Waiting(
        need=need,
        idempotency_key=entry.idempotency_key,
        operation=entry.operation,
        bill=entry.bill,
        settlement_id=entry.settlement_id,
        since=entry.answered_at or entry.prepared_at,
        outcome=entry.outcome,
        tries=entry.tries,
        last_error=entry.last_error,
        tried_at=entry.tried_at,
        next_try_at=entry.next_try_at,
    )
