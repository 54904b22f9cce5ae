"""One attempt as the journal holds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Operation = Literal["settlement", "reversal", "refund"]
State = Literal["prepared", "sent", "answered"]
Outcome = Literal["settlement", "reversal", "refund", "refusal", "never_sent"]
"""What ended an attempt: an answer of the service of that kind, or that its first byte never left."""

SELECT = (
    "select number, idempotency_key, operation, state, path, session_id, bill, prepared_at, settlement_id, outcome,"
    " answered_at, handed_out_at, given_up, tries, last_error, tried_at, next_try_at, request_sealed, answer_sealed"
    " from attempt "
)
"""Gives what ``entry_of`` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One attempt. ``request`` and ``answer`` are wire bodies in clear, None where they cannot be deciphered.

    ``number`` rises with each attempt, whatever the till's clock says · ``bill``: what it is about, the key of the
    settlement, or the service's identifier where the till does not know that key · ``given_up``: nobody waits for this
    settlement any more, so that the forwarder brings it to its end · ``tries``: how often the forwarder, or a call,
    tried without an answer, ``last_error`` why not (a stable word), ``tried_at`` when, ``next_try_at`` when again ·
    ``handed_out_at``: when the till said that its outcome was told and its receipt printed.
    """

    number: int
    idempotency_key: str
    operation: Operation
    state: State
    path: str
    session_id: str
    bill: str
    prepared_at: dt.datetime
    settlement_id: str | None
    outcome: Outcome | None
    answered_at: dt.datetime | None
    handed_out_at: dt.datetime | None
    given_up: bool
    tries: int
    last_error: str | None
    tried_at: dt.datetime | None
    next_try_at: dt.datetime | None
    request: bytes | None = field(repr=False)
    answer: bytes | None = field(repr=False)

    @property
    def is_owed(self) -> bool:
        """Whether the service has still to hear of it, though nobody at the till waits for that."""
        return self.state != "answered" and (self.operation != "settlement" or self.given_up)


def entry_of(row: tuple[object, ...], unsealed: Callable[[object, str, str], bytes | None]) -> JournalEntry:
    """A row of the table. ``unsealed``: (sealed body, key, part) → the body in clear, or None."""
    number, key, operation, state, path, session_id, bill, prepared_at, settlement_id, outcome, *rest = row
    answered_at, handed_out_at, given_up, tries, last_error, tried_at, next_try_at, request, answer = rest
    return JournalEntry(
        number=int(str(number)),
        idempotency_key=str(key),
        operation=operation,  # type: ignore[arg-type]  # the table's check constraint holds it
        state=state,  # type: ignore[arg-type]
        path=str(path),
        session_id=str(session_id),
        bill=str(bill),
        prepared_at=dt.datetime.fromisoformat(str(prepared_at)),
        settlement_id=None if settlement_id is None else str(settlement_id),
        outcome=outcome,  # type: ignore[arg-type]
        answered_at=_moment(answered_at),
        handed_out_at=_moment(handed_out_at),
        given_up=bool(given_up),
        tries=int(str(tries)),
        last_error=None if last_error is None else str(last_error),
        tried_at=_moment(tried_at),
        next_try_at=_moment(next_try_at),
        request=unsealed(request, str(key), "request"),
        answer=unsealed(answer, str(key), "answer"),
    )


def _moment(text: object) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(str(text))
