"""The proof against the banks: their own books, message by message, must say what our bank legs say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from settlement.ledger.records import Row
from settlement.ledger.verify import Violation

_TAKEN = frozenset({"live", "partly_refunded"})
_GIVEN_BACK = frozenset({"voided", "refunded", "reversed"})
INVARIANT = "bank_books"

Identity = tuple[str, str, str, str, str]
"""Bank, terminal, date-time, trace and reference: by what a message is known on both sides."""


@dataclass(frozen=True, slots=True)
class BookEntry:
    """One debit in a bank's books. ``state``: live, voided, reversed, refunded, partly_refunded or declined."""

    identity: Identity
    amount_fen: int
    state: str


@dataclass(frozen=True, slots=True)
class BankReport:
    """What the comparison saw; ``net_fen``: what each bank has taken less what it gave back."""

    violations: list[Violation]
    banks: int
    compared: int
    not_final: int
    net_fen: Mapping[str, int]


def compare_with_banks(
    before: Iterable[Row], entries: Iterable[BookEntry], after: Iterable[Row], banks: frozenset[str]
) -> BankReport:
    """Compare our bank legs with the debits in the books of ``banks``.

    ``before`` and ``after``: our legs as they stood before and after the books were read, so that a service at work
    is judged fairly. A leg that is not final, or moved meanwhile, is counted and not judged; a debit that is known
    by then is no orphan.
    """
    still = {identity_of(leg): _standing(leg) for leg in after if leg["leg"] == "bank"}
    theirs: dict[Identity, BookEntry] = {}
    violations: list[Violation] = []
    net: dict[str, int] = defaultdict(int)
    for entry in entries:
        if entry.identity in theirs:
            violations.append(Violation(INVARIANT, f"{_named(entry.identity)}: stands twice at the bank"))
        theirs[entry.identity] = entry
        if entry.state in _TAKEN:
            net[entry.identity[0]] += entry.amount_fen
    compared = not_final = 0
    for leg in before:
        if leg["leg"] != "bank" or leg["bank_code"] not in banks:
            continue
        identity = identity_of(leg)
        entry_or_none = theirs.pop(identity, None)
        if not leg["final"] or leg["returning"] or still.get(identity) != _standing(leg):
            not_final += 1
            continue
        compared += 1
        fault = _fault(leg, entry_or_none)
        if fault:
            violations.append(Violation(INVARIANT, f"{_named(identity)}: {fault}"))
    violations += [
        Violation(INVARIANT, f"{_named(identity)}: {entry.amount_fen} fen taken by the bank, unknown here")
        for identity, entry in theirs.items()
        if entry.state in _TAKEN and identity not in still
    ]
    return BankReport(violations, len(banks), compared, not_final, dict(net))


def identity_of(leg: Row) -> Identity:
    """The identity of a bank leg's message."""
    return leg["bank_code"], leg["terminal_id"], leg["transmitted"], leg["trace"], leg["reference"]


def _standing(leg: Row) -> tuple[str, bool, bool]:
    return leg["state"], leg["returned"], leg["returning"]


def _fault(leg: Row, entry: BookEntry | None) -> str | None:
    """What is wrong between one final leg and the bank's entry for it, or None."""
    if leg["state"] != "posted":
        taken = entry is not None and entry.state in _TAKEN
        return f"{leg['state']} here, {entry.state} at the bank" if taken and entry is not None else None
    if entry is None:
        return "posted here, unknown at the bank"
    if entry.amount_fen != leg["amount_fen"]:
        return f"{leg['amount_fen']} fen here, {entry.amount_fen} fen at the bank"
    wanted = _GIVEN_BACK if leg["returned"] else _TAKEN
    if entry.state not in wanted:
        return f"{'returned' if leg['returned'] else 'posted'} here, {entry.state} at the bank"
    return None


def _named(identity: Identity) -> str:
    bank, terminal, transmitted, trace, reference = identity
    return f"{bank} {terminal} {transmitted} {trace} {reference}"
