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
    """One operation in a bank's books. ``kind``: debit, void or refund; others are not compared.

    ``state`` of a debit: live, voided, reversed, refunded, partly_refunded or declined; of a void or refund: done,
    nothing_to_do or declined. ``moved_fen``: what it moved from or to the account.
    """

    identity: Identity
    amount_fen: int
    state: str
    kind: str = "debit"
    moved_fen: int = 0


@dataclass(frozen=True, slots=True)
class BankReport:
    """What the comparison saw; ``net_fen``: what each bank has taken less what it gave back by returns."""

    violations: list[Violation]
    banks: int
    compared: int
    not_final: int
    net_fen: Mapping[str, int]


def compare_with_banks(
    before: Iterable[Row], entries: Iterable[BookEntry], after: Iterable[Row], banks: frozenset[str]
) -> BankReport:
    """Compare our bank legs with the debits, voids and refunds in the books of ``banks``.

    ``before`` and ``after``: our legs as they stood before and after the books were read, so that a service at work
    is judged fairly. A leg that is not final, or moved meanwhile, is counted and not judged; an operation that is known
    by then is no orphan.
    """
    still = {identity_of(leg): _standing(leg) for leg in after}
    theirs: dict[Identity, BookEntry] = {}
    violations: list[Violation] = []
    net: dict[str, int] = defaultdict(int)
    for entry in entries:
        if entry.kind not in {"debit", "void", "refund"}:
            continue
        if entry.identity in theirs:
            violations.append(Violation(INVARIANT, f"{_named(entry.identity)}: stands twice at the bank"))
        theirs[entry.identity] = entry
        net[entry.identity[0]] += _net_fen(entry)
    compared = not_final = 0
    for leg in before:
        if leg["bank_code"] not in banks:
            continue
        identity = identity_of(leg)
        entry_or_none = theirs.pop(identity, None)
        if not leg["final"] or leg["returning"] or still.get(identity) != _standing(leg):
            not_final += leg["leg"] == "bank"
            continue
        compared += leg["leg"] == "bank"
        fault = _fault(leg, entry_or_none)
        if fault:
            violations.append(Violation(INVARIANT, f"{_named(identity)}: {fault}"))
    violations += [
        Violation(
            INVARIANT, f"{_named(identity)}: {entry.amount_fen} fen {_MOVED[entry.kind]} by the bank, unknown here"
        )
        for identity, entry in theirs.items()
        if _net_fen(entry) and identity not in still
    ]
    return BankReport(violations, len(banks), compared, not_final, dict(net))


_MOVED = {"debit": "taken", "void": "given back", "refund": "given back"}


def _net_fen(entry: BookEntry) -> int:
    """What an operation has taken (fen; negative: given back); a debit that was undone whole has taken nothing."""
    if entry.kind == "debit":
        return entry.amount_fen if entry.state in {*_TAKEN, "refunded"} else 0
    return -entry.moved_fen if entry.kind == "refund" else 0


def identity_of(leg: Row) -> Identity:
    """The identity of a bank leg's message."""
    return leg["bank_code"], leg["terminal_id"], leg["transmitted"], leg["trace"], leg["reference"]


def _standing(leg: Row) -> tuple[str, int, bool]:
    return leg["state"], leg["returned_fen"], leg["returning"]


def _fault(leg: Row, entry: BookEntry | None) -> str | None:
    """What is wrong between one final leg and the bank's entry for it, or None."""
    if leg["state"] != "posted":
        taken = entry is not None and entry.state in _TAKEN
        return f"{leg['state']} here, {entry.state} at the bank" if taken and entry is not None else None
    if entry is None:
        return "posted here, unknown at the bank"
    if entry.amount_fen != leg["amount_fen"]:
        return f"{leg['amount_fen']} fen here, {entry.amount_fen} fen at the bank"
    if entry.state not in _expected(leg):
        return f"posted here, {leg['returned_fen']} fen of it returned; {entry.state} at the bank"
    return None


def _expected(leg: Row) -> frozenset[str]:
    """The states that a bank's entry may have for a posted leg."""
    if leg["leg"] != "bank":
        return frozenset({"done", "nothing_to_do"})
    if leg["returned_fen"] == 0:
        return frozenset({"live"})
    return _GIVEN_BACK if leg["returned_fen"] == leg["amount_fen"] else frozenset({"partly_refunded"})


def _named(identity: Identity) -> str:
    bank, terminal, transmitted, trace, reference = identity
    return f"{bank} {terminal} {transmitted} {trace} {reference}"
