"""The model: the shortest true statement of what the system promises, from what tills were told and what is on record.

It knows nothing of legs, decisions or recovery. It hears the tills, reads the banks' books and the balances, and says
what must be true when all has come to rest.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from settlement.ledger.verify import Violation
from settlement.simulation.desk import Order, Refused
from settlement.simulation.evidence import Evidence
from settlement.simulation.population import Card
from terminal_sdk.wire import Refund, Reversal, Settlement, Split

FUNDS = ("pooled_fund", "additional_fund")
PAYERS = (*FUNDS, "current_year", "carried_over", "bank", "cash")
_SELF_PAID_OF_B = 10
"""Per cent of a class B line that the plan leaves to the patient, where the catalog is silent."""
_AFTER = {
    "pending": {"pending", "settled", "declined", "reversing", "reversed"},
    "settled": {"settled", "reversing", "reversed"},
    "reversing": {"reversing", "reversed"},
    "declined": {"declined"},
    "reversed": {"reversed"},
}
"""What a till may be told next about the same key."""
_NEVER_ARRIVED = frozenset({"SETTLEMENT_UNKNOWN", "REVERSED_BEFORE_ARRIVAL"})
_MAY_REFUSE_REVERSAL = frozenset({"NOT_READY", "UNREACHABLE", "OVERLOADED", "INTERNAL", "OUTCOME_UNKNOWN"})
"""Passing troubles. Anything else would be a reversal refused."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, and at which order, if it is one's."""

    violation: Violation
    order: Order | None = None


def judge(
    orders: list[Order],
    evidence: Evidence,
    cards: list[Card],
    credited_fen: dict[tuple[int, str], int],
    bank_fen: dict[tuple[str, str], int],
    open_legs: int,
) -> Iterator[Finding]:
    """Everything that is not as promised. ``credited_fen``, ``bank_fen``: what the accounts began with."""
    if open_legs:
        yield _broken("final", f"{open_legs} bank legs never came to rest")
    rules: dict[str, Callable[[Order], Iterator[str]]] = {
        "is_final": _is_final,
        "was_told_truly": _was_told_truly,
        "refused_rightly": _refused_rightly,
        "nothing_was_begun": _nothing_was_begun,
        "reversal_holds": _reversal_holds,
        "adds_up": _adds_up,
        "refunds_as_asked": _refunds_as_asked,
        "insurance_first": _InsuranceFirst(orders, credited_fen),
    }
    for order in orders:
        for name, rule in rules.items():
            for text in rule(order):
                yield _broken(name, f"{order.key}: {text}", order)
        yield from _at_the_bank(order, evidence)
    yield from _nothing_unknown_at_banks(orders, evidence)
    yield from _balances(orders, evidence, credited_fen)
    yield from _bank_accounts(orders, evidence, cards, bank_fen)
    yield from _postings(orders, evidence)
    yield from _counters(orders, evidence)


def standing(order: Order) -> dict[str, int]:
    """What each payer stands charged with (fen) by this order's last word: the split, less what was given back."""
    view = order.last_word
    if not isinstance(view, Settlement) or view.state != "settled":
        return dict.fromkeys(PAYERS, 0)
    charged = _shares(view.split)
    for refund in order.refunds.values():
        if refund.settlement_id == view.settlement_id:
            for payer, fen in _shares(refund.returned).items():
                charged[payer] -= fen
    return charged


def _shares(split: Split) -> dict[str, int]:
    return {payer: getattr(split, f"{payer}_fen") for payer in PAYERS}


def _broken(promise: str, text: str, order: Order | None = None) -> Finding:
    return Finding(Violation(promise, text), order)


# each order by itself


def _is_final(order: Order) -> Iterator[str]:
    word = order.last_word
    if order.clear_at is None:
        yield "a till is still in doubt long after the deadline"
    if isinstance(word, Refused):
        if word.code not in _NEVER_ARRIVED:
            yield f"asked for its state, the service says {word.code}"
        elif order.views():
            yield f"{word.code}, although it was known before"
    elif not isinstance(word, Settlement) or not word.final:
        yield f"not final: {word}"
    for undo in order.undos():
        if not undo.final:
            yield f"not final: {undo}"


def _was_told_truly(order: Order) -> Iterator[str]:
    """Same key, same settlement; a final word stands, except for a reversal that a till asked for."""
    views = order.views()
    for (said, view), (later, next_view) in itertools.combinations(views, 2):
        if later.asked_at < said.at:
            # The two were under way at the same time: either may have been judged first.
            continue
        if next_view.state not in _AFTER[view.state]:
            yield f"told {view.state} at {said.at:.3f} and {next_view.state} at {later.at:.3f}"
        if view.state == "settled" and next_view.state != "settled":
            asked = order.reversal_asked_at
            if asked is None or asked > later.at:
                yield f"settled at {said.at:.3f}, taken back at {later.at:.3f}, and no till had asked for it"
        if view.final and next_view.split != view.split:
            yield f"another split than before: {view.split} then {next_view.split}"
    if len({view.settlement_id for _, view in views}) > 1:
        yield f"more than one settlement under one key: {sorted({view.settlement_id for _, view in views})}"


def _refused_rightly(order: Order) -> Iterator[str]:
    """A key that stands for nothing else is never said to."""
    for said in order.said:
        refused = isinstance(said.answer, Refused) and said.answer.code == "IDEMPOTENCY_KEY_REUSED"
        if refused and said.operation == "settle" and order.agreements == 1:
            yield f"refused at {said.at:.3f} as a key used for another bill"


def _nothing_was_begun(order: Order) -> Iterator[str]:
    """Where each answer to a bill was a refusal, nothing came of it: the patient may have paid in cash and gone."""
    told = [said.answer for said in order.said if said.operation == "settle"]
    refused = [answer.code for answer in told if isinstance(answer, Refused) and answer.nothing_begun]
    if not refused or len(refused) < len(told) or order.strays:
        return
    if not isinstance(order.last_word, Refused):
        yield f"refused with {', '.join(refused)}, and it stands as {getattr(order.last_word, 'state', None)}"


def _reversal_holds(order: Order) -> Iterator[str]:
    """A reversal is never refused, and what was taken back stands nowhere."""
    word = order.last_word
    for said in order.said:
        if said.operation not in {"reverse", "reverse_by_key"}:
            continue
        if isinstance(said.answer, Refused) and said.answer.code not in _MAY_REFUSE_REVERSAL:
            yield f"a reversal was refused with {said.answer.code}"
        taken_back = isinstance(word, Settlement) and word.state in {"reversed", "declined"}
        buried = isinstance(word, Refused) and word.code == "REVERSED_BEFORE_ARRIVAL"
        if isinstance(said.answer, Reversal) and not (taken_back or buried):
            yield f"a reversal was accepted at {said.at:.3f}, and it stands as {getattr(word, 'state', word)}"


def _adds_up(order: Order) -> Iterator[str]:
    """The six payers pay the bill; refunds give back what they say, and no payer more than it paid."""
    for _, view in order.views():
        if view.split.total_fen != order.total_fen or sum(_shares(view.split).values()) != order.total_fen:
            yield f"the split of {order.total_fen} fen is {view.split}"
    word = order.last_word
    if isinstance(word, Settlement) and word.state == "settled":
        charged = standing(order)
        if min(charged.values()) < 0:
            yield f"more was refunded than paid: {charged}"
        given_fen = order.total_fen - sum(charged.values())
        if given_fen != word.returned_fen:
            yield f"{word.returned_fen} fen are said to be returned, refunds gave {given_fen}"


def _refunds_as_asked(order: Order) -> Iterator[str]:
    """One refund a key, of the line and the amount that were asked for, and no line more than was billed."""
    by_key: dict[str, set[str]] = {}
    for refund in (*order.refunds.values(), *(said.answer for said in order.said if isinstance(said.answer, Refund))):
        by_key.setdefault(refund.idempotency_key, set()).add(refund.refund_id)
    for key, ids in by_key.items():
        if key not in order.refunds_asked:
            yield f"nobody asked for the refund under {key}"
        if len(ids) > 1:
            yield f"more than one refund under {key}: {sorted(ids)}"
    given: Counter[int] = Counter()
    for refund in order.refunds.values():
        by_line = Counter[int]()
        for part in refund.returned.parts:
            by_line[part.line_no] += part.amount_fen
        by_line = Counter({number: fen for number, fen in by_line.items() if fen})  # kept lines may be paid otherwise
        given += by_line
        asked = order.refunds_asked.get(refund.idempotency_key)
        if asked is None:
            continue
        if set(by_line) != {asked.line_no}:
            yield f"line {asked.line_no} was to be refunded, and {sorted(by_line)} were"
        if asked.amount_fen is not None and by_line.total() != asked.amount_fen:
            yield f"{by_line.total()} fen were refunded, {asked.amount_fen} were asked for"
    for line in order.lines:
        if given[line.line_no] > line.amount_fen:
            yield f"of line {line.line_no}, {line.amount_fen} fen, {given[line.line_no]} fen were refunded"


class _InsuranceFirst:
    """The bank and the purse pay insurable lines only when the insurance accounts are used up, and so does a fund.

    How much was free at that moment is not known outside; but at least what the person began with, less all that other
    bills of the same person may have held or used.
    """

    def __init__(self, orders: list[Order], credited_fen: dict[tuple[int, str], int]) -> None:
        self._orders = orders
        self._credited = credited_fen

    def __call__(self, order: Order) -> Iterator[str]:
        views = order.views()
        if not views:
            return
        split = views[0][1].split
        insurable = _insurable(order)
        by_funds = sum(_shares(split)[fund] for fund in FUNDS)
        person = order.card.person_id
        others = sum(
            max(view.split.current_year_fen + view.split.carried_over_fen for _, view in other.views())
            for other in self._orders
            if other is not order and other.card.person_id == person and other.views()
        )
        credited = self._credited[person, "current_year"] + self._credited[person, "carried_over"]
        used = split.current_year_fen + split.carried_over_fen
        if used < min(insurable - by_funds, credited - others):
            yield f"insurance paid {used} of {insurable} fen, though at least {credited - others} were there"
        if split.carried_over_fen and split.current_year_fen < min(
            insurable, self._credited[person, "current_year"] - others
        ):
            yield "the carried-over account was used before the current year's"
        if used + by_funds > insurable:
            yield f"insurance paid {used + by_funds} fen, of which only {insurable} are insurable"
        if by_funds and not order.card.covered:
            yield f"a fund paid {by_funds} fen for a person whom no plan covers"
        if by_funds and split.current_year_fen < min(
            insurable - by_funds, self._credited[person, "current_year"] - others
        ):
            yield "a fund paid before the current-year account was used up"


def _insurable(order: Order) -> int:
    """What of a bill insurance may pay: not class C, and by the plan not the self-paid share of class B."""
    fen = 0
    for line in order.lines:
        if line.category != "C":
            fen += line.amount_fen
        if line.category == "B" and order.card.covered:
            fen -= (line.amount_fen * _SELF_PAID_OF_B + 50) // 100
    return fen


# against the banks


def _at_the_bank(order: Order, evidence: Evidence) -> Iterator[Finding]:
    references = {view.bank.reference for _, view in order.views() if view.bank is not None}
    debits = [debit for debit in evidence.debits if debit.reference in references]
    if len(debits) > 1:
        yield _broken("charged_once", f"{order.key}: the bank was charged {len(debits)} times", order)
    live_fen, due_fen = sum(debit.live_fen for debit in debits), standing(order)["bank"]
    if live_fen != due_fen:
        told = getattr(order.last_word, "state", order.last_word)
        yield _broken("bank_agrees", f"{order.key}: {told}; the bank holds {live_fen} fen, due are {due_fen}", order)


def _nothing_unknown_at_banks(orders: list[Order], evidence: Evidence) -> Iterator[Finding]:
    known = {view.bank.reference for order in orders for _, view in order.views() if view.bank is not None}
    for debit in evidence.debits:
        if debit.live_fen and debit.reference not in known:
            yield _broken("bank_agrees", f"{debit.bank} holds {debit.live_fen} fen ({debit.reference}) for no bill")


def _bank_accounts(
    orders: list[Order], evidence: Evidence, cards: list[Card], bank_fen: dict[tuple[str, str], int]
) -> Iterator[Finding]:
    charged: Counter[str] = Counter()
    for order in orders:
        charged[order.card.pan] += standing(order)["bank"]
    for (bank, pan), began in bank_fen.items():
        now = evidence.bank_balances[bank, pan]
        if now != began - charged[pan]:
            holder = next(card.number for card in cards if card.pan == pan)
            text = f"account of {holder} at {bank}: {began} fen before, {now} now, bills say {charged[pan]}"
            yield _broken("bank_accounts", text)


# against the ledger


def _balances(orders: list[Order], evidence: Evidence, credited_fen: dict[tuple[int, str], int]) -> Iterator[Finding]:
    """What a person has is what the person had, less what stands charged."""
    charged: Counter[tuple[int, str]] = Counter()
    for order in orders:
        for account in ("current_year", "carried_over"):
            charged[order.card.person_id, account] += standing(order)[account]
    for (person, account), began in credited_fen.items():
        posted, held = evidence.balances[person, account]
        if (posted, held) != (began - charged[person, account], 0):
            text = f"person {person} {account}: {began} fen before, {posted} now ({held} held), bills say "
            yield _broken("balances", text + str(charged[person, account]))


def _postings(orders: list[Order], evidence: Evidence) -> Iterator[Finding]:
    """All entries sum to zero, and each institution, bank and purse has what the bills say."""
    if sum(evidence.postings.values()):
        yield _broken("sum_zero", f"the entries sum to {sum(evidence.postings.values())} fen")
    due: Counter[str] = Counter()
    for order in orders:
        charged, institution = standing(order), order.till.institution_id
        due[f"institution/{institution}"] += sum(charged.values())
        due[f"cash/{institution}"] -= charged["cash"]
        if charged["bank"] and isinstance(order.last_word, Settlement) and order.last_word.bank is not None:
            due[f"bank/{order.last_word.bank.bank}"] -= charged["bank"]
        due["fund/pooled"] -= charged["pooled_fund"]
        due["fund/additional"] -= charged["additional_fund"]
    elsewhere = ("person ", "fund/personal_accounts")
    booked = {name: fen for name, fen in evidence.postings.items() if not name.startswith(elsewhere)}
    for name in sorted({*due, *booked}):
        if due[name] != booked.get(name, 0):
            yield _broken("postings", f"{name}: booked {booked.get(name, 0)} fen, bills say {due[name]}")


def _counters(orders: list[Order], evidence: Evidence) -> Iterator[Finding]:
    """A person's counters say what the funds paid for the bills that stand, and the deductible is used up before."""
    paid: Counter[tuple[int, str]] = Counter()
    covered: Counter[int] = Counter()
    for order in orders:
        charged = standing(order)
        for fund in FUNDS:
            paid[order.card.person_id, fund] += charged[fund]
        if order.card.covered:
            covered[order.card.person_id] += sum(charged.values())
    for person, fund in sorted({*paid, *(key for key in evidence.counters if key[1] in FUNDS)}):
        counted = evidence.counters.get((person, fund), 0)
        if counted != paid[person, fund]:
            yield _broken("counters", f"person {person} {fund}: counted {counted} fen, bills say {paid[person, fund]}")
    for (person, counter), fen in sorted(evidence.counters.items()):
        if counter not in FUNDS and fen > covered[person]:
            yield _broken("counters", f"person {person} {counter}: counted {fen} fen of {covered[person]} that stand")
