"""What a bank's response code means for each verb: one table, from field 39 to an outcome."""

from __future__ import annotations

import enum

from settlement.banks.port import BankOutcome


class Verb(enum.StrEnum):
    """The five verbs of the bank port."""

    DEBIT = "debit"
    INQUIRE = "inquire"
    REVERSE = "reverse"
    VOID = "void"
    REFUND = "refund"


APPROVED = "00"
NOT_FOUND = "25"
MAC_REFUSED = "A0"

UNKNOWN_CODES = frozenset({"68", "91", "94", "96", "98", MAC_REFUSED})
"""The bank (or somebody on the way) answered, and the answer does not say what became of the message.

68, 98: no answer from further on · 91, 96: the issuer could not be reached, or failed · 94: seen before, which is never
a decline · A0: refused for its MAC; that copy was not judged, so it says nothing about another one.
"""


def outcome_of(verb: Verb, code: str) -> BankOutcome:
    """The outcome that a response code stands for. A code this table does not know is a decline, kept as it came."""
    if code == APPROVED:
        return BankOutcome.APPROVED
    if code in UNKNOWN_CODES:
        return BankOutcome.UNKNOWN
    if code == NOT_FOUND:
        # A debit has no original; an answer that speaks of one is not an answer to it.
        return BankOutcome.UNKNOWN if verb is Verb.DEBIT else BankOutcome.NOT_FOUND
    if verb is Verb.INQUIRE:
        # Any other code says that the *inquiry* failed, not what became of the debit.
        return BankOutcome.UNKNOWN
    return BankOutcome.DECLINED
