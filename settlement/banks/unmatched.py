"""Answers that nobody waits for any more: told apart as late, duplicate or unsolicited, and handed on."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from settlement.banks.codes import Verb
from settlement.banks.iso.codec import Message
from settlement.banks.messages import AnswerKey, Expected, judge, key_of
from settlement.banks.port import BankAnswer, MessageIdentity


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """A valid answer that came after its request had been given up, or once more.

    ``kind``: ``late`` (the outcome was told as unknown) or ``duplicate`` (an answer had been taken already).
    """

    kind: str
    verb: Verb
    identity: MessageIdentity
    answer: BankAnswer


LateCallback = Callable[[LateAnswer], None]


class RecentRequests:
    """The last requests of one link, so many at most; older ones are forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: OrderedDict[AnswerKey, tuple[Expected, bool]] = OrderedDict()

    def sent(self, expected: Expected) -> None:
        """A request is about to leave."""
        self._requests[expected.key] = (expected, False)
        self._requests.move_to_end(expected.key)
        while len(self._requests) > self._limit:
            self._requests.popitem(last=False)

    def answered(self, expected: Expected) -> None:
        """Its answer was taken."""
        if expected.key in self._requests:
            self._requests[expected.key] = (expected, True)

    def classify(self, message: Message, mac_key: bytes | None, today: dt.date) -> tuple[str, LateAnswer | None]:
        """The kind of an unmatched answer, and what it says if its MAC is valid and its request is remembered."""
        if mac_key is None or not message.mac_is_valid(mac_key):
            return "bad_mac", None
        known = self._requests.get(key_of(message))
        if known is None:
            return "unsolicited", None
        expected, answered = known
        kind = "duplicate" if answered else "late"
        self._requests[expected.key] = (expected, True)
        return kind, LateAnswer(kind, expected.verb, expected.identity, judge(expected, message, mac_key, today))
