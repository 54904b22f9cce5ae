"""Lost and doubled: counted from the tills' journals and the banks' books; the ledger is what is judged by them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.words import TillWord


@dataclass(frozen=True, slots=True, kw_only=True)
class Debit:
    """A debit that stands in a bank's books (live: taken and not given back). ``reference``: field 37."""

    bank: str
    reference: str
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A bank account after the run. ``taken_fen``: what it had before, less its balance now."""

    bank: str
    pan: str = field(repr=False)
    taken_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerBill:
    """A settlement as the ledger has it. ``state``: as ``settlement_state`` says · ``reference``: its debit's, or None.

    ``stands``: decided forward and nothing of it given back.
    """

    settlement_id: str
    key: str
    visit_no: str
    state: str
    stands: bool
    bank: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong, a line each; all must be empty.

    ``lost``: a till was told *settled*, or a bank holds money, and the ledger has no settled bill for it ·
    ``doubled``: one bill with two live debits or two settlements · ``bank_differs``: a till was told that a bank paid,
    and the bank's books do not show exactly that, or they show a debit that no till knows · ``words_differ``: a till's
    last word is not the ledger's state · ``not_final``: settlements that are still on their way.
    """

    lost: Sequence[str]
    doubled: Sequence[str]
    bank_differs: Sequence[str]
    words_differ: Sequence[str]
    not_final: Sequence[str]


FINAL = frozenset({"settled", "declined", "reversed"})
_NOTHING_CHARGED = frozenset({"refused", "never_sent"})


def judge(words: Iterable[TillWord], debits: Sequence[Debit], bills: Sequence[LedgerBill]) -> Verdict:
    """Hold the three against each other. ``debits``: the live ones only."""
    words = list(words)
    return Verdict(
        lost=[*_lost_at_tills(words, bills), *_lost_at_banks(debits, bills)],
        doubled=[*_two_debits(words, debits, bills), *_two_settlements(bills)],
        bank_differs=_bank_differs(words, debits),
        words_differ=_words_differ(words, bills),
        not_final=[f"{bill.key}: {bill.state}" for bill in bills if bill.state not in FINAL],
    )


def _lost_at_tills(words: Iterable[TillWord], bills: Iterable[LedgerBill]) -> list[str]:
    standing = {(bill.key, bill.settlement_id) for bill in bills if bill.stands}
    return [
        f"{word.key}: the till was told settled ({word.settlement_id}), the ledger has no such settled bill"
        for word in words
        if word.word == "settled" and (word.key, word.settlement_id) not in standing
    ]


def _lost_at_banks(debits: Iterable[Debit], bills: Iterable[LedgerBill]) -> list[str]:
    standing = {(bill.bank, bill.reference) for bill in bills if bill.stands}
    return [
        f"{debit.bank} {debit.reference}: {debit.amount_fen} fen taken by the bank, no settled bill in the ledger"
        for debit in debits
        if (debit.bank, debit.reference) not in standing
    ]


def _two_debits(words: Iterable[TillWord], debits: Iterable[Debit], bills: Iterable[LedgerBill]) -> list[str]:
    """By the bill's visit number, which till and ledger know a debit's reference by."""
    visit_of: dict[tuple[str, str], str] = {}
    visit_of |= {(bill.bank, bill.reference): bill.visit_no for bill in bills if bill.bank and bill.reference}
    visit_of |= {(word.bank, word.reference): word.visit_no for word in words if word.reference}
    live = Counter(visit_of.get((debit.bank, debit.reference), debit.reference) for debit in debits)
    return [f"{visit}: {count} live debits" for visit, count in live.items() if count > 1]


def _two_settlements(bills: Iterable[LedgerBill]) -> list[str]:
    standing = Counter(bill.visit_no for bill in bills if bill.stands)
    return [f"{visit}: {count} settlements stand" for visit, count in standing.items() if count > 1]


def _bank_differs(words: Iterable[TillWord], debits: Iterable[Debit]) -> list[str]:
    """Tills and banks against each other, without the ledger: to each share that a till was told, exactly one debit."""
    theirs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for debit in debits:
        theirs[debit.bank, debit.reference].append(debit.amount_fen)
    found = []
    for word in words:
        if word.bank_fen:
            taken = theirs.pop((word.bank, word.reference), [])
            if taken != [word.bank_fen]:
                found.append(f"{word.key}: the till was told {word.bank_fen} fen by {word.bank}, its books say {taken}")
    found += [
        f"{bank} {reference}: {taken} fen taken by the bank, for no bill that a till knows as settled"
        for (bank, reference), taken in theirs.items()
    ]
    return found


def _words_differ(words: Iterable[TillWord], bills: Sequence[LedgerBill]) -> list[str]:
    by_key = {bill.key: bill for bill in bills}
    found = []
    for word in words:
        bill = by_key.pop(word.key, None)
        if not _agree(word, bill):
            found.append(f"{word.key}: {word.word} at the till, {bill.state if bill else 'unknown'} in the ledger")
    found += [f"{key}: {bill.state} in the ledger, in no till's journal" for key, bill in by_key.items()]
    return found


def _agree(word: TillWord, bill: LedgerBill | None) -> bool:
    if bill is None:
        # A reversal of what never arrived leaves no settlement, only its buried key.
        return word.word in _NOTHING_CHARGED or (word.word == "reversed" and word.settlement_id is None)
    if word.word in _NOTHING_CHARGED:
        return not bill.stands
    return word.word == bill.state


def account_sums(words: Iterable[TillWord], accounts: Iterable[Account], card_of: Mapping[str, str]) -> list[str]:
    """What is gone from each bank account against what tills were told that the bank paid for its card, to the fen.

    Neither the ledger nor a reference of a message takes part in it. ``card_of``: by visit number, the account's PAN.
    """
    told: dict[str, int] = defaultdict(int)
    for word in words:
        told[card_of[word.visit_no]] += word.bank_fen
    return [
        f"{each.bank} account …{each.pan[-4:]}: the tills were told {told[each.pan]} fen, {each.taken_fen} are gone"
        for each in accounts
        if told[each.pan] != each.taken_fen
    ]
