"""Answers that nobody waits for any more: told apart as late, duplicate or unsolicited, and handed on or held against
the bank."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from settlement.banks.codes import Verb
from settlement.banks.iso.codec import Message
from settlement.banks.messages import AnswerKey, Expected, judge, key_of
from settlement.banks.port import BankAnswer, BankOutcome, MessageIdentity

_SAYS_NOTHING = frozenset({BankOutcome.UNKNOWN, BankOutcome.NOT_SENT})


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """A valid, conclusive answer that came after its request had been given up as unknown."""

    verb: Verb
    identity: MessageIdentity
    answer: BankAnswer


LateCallback = Callable[[LateAnswer], None]


@dataclass(frozen=True, slots=True)
class _Known:
    """A request, and the conclusive outcomes that answers to it have told so far: three at most."""

    expected: Expected
    told: set[BankOutcome] = field(default_factory=set)


class RecentRequests:
    """The last requests of one link, so many at most; older ones are forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: OrderedDict[AnswerKey, _Known] = OrderedDict()

    def sent(self, expected: Expected) -> None:
        """A request is about to leave. One that is repeated under its identity is the same request."""
        known = self._requests.get(expected.key)
        if known is None or known.expected != expected:
            self._requests[expected.key] = _Known(expected)
        self._requests.move_to_end(expected.key)
        while len(self._requests) > self._limit:
            self._requests.popitem(last=False)

    def answered(self, expected: Expected, outcome: BankOutcome) -> None:
        """An answer to it was taken, and came to this."""
        known = self._requests.get(expected.key)
        if known is not None and outcome not in _SAYS_NOTHING:
            known.told.add(outcome)

    def classify(self, message: Message, mac_key: bytes | None, today: dt.date) -> tuple[str, LateAnswer | None]:
        """The kind of an unmatched answer, and what it says, if that is conclusive and was not told before.

        ``late``: evidence · ``contradiction``: another outcome was told before; the first one counts, and people must
        look · ``duplicate``: it says what was told already · ``worthless``: valid, and not conclusive ·
        ``unsolicited``: no such request is remembered · ``bad_mac``.
        """
        if mac_key is None or not message.mac_is_valid(mac_key):
            return "bad_mac", None
        known = self._requests.get(key_of(message))
        if known is None:
            return "unsolicited", None
        answer = judge(known.expected, message, mac_key, today)
        if answer.outcome in known.told:
            return "duplicate", None
        if answer.outcome in _SAYS_NOTHING:
            return "worthless", None
        kind = "contradiction" if known.told else "late"
        known.told.add(answer.outcome)
        return kind, LateAnswer(known.expected.verb, known.expected.identity, answer)
