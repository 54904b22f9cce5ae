"""What another version of a plan would have changed for bills of the past, each person's bills in their turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

from settlement.policy.catalog import Catalog
from settlement.policy.evaluate import Outcome, evaluate
from settlement.policy.explain import BillToExplain, fen_of, judged_lines, person_of
from settlement.policy.plan import Account, Fund, Plan, Rule, Scope

ACCOUNTS: tuple[Account, ...] = ("current_year", "carried_over")
_COUNTERS: tuple[Literal["covered"] | Fund, ...] = ("covered", "pooled_fund", "additional_fund")
REMAINDER = "remainder"
PAYERS = ("current_year", "carried_over", "pooled_fund", "additional_fund", REMAINDER)


class PastBill(BillToExplain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bill as it was: ``balances`` and ``counted`` are what the person had just before it. ``person_id``: whose."""

    person_id: str


class NotJudged(ValueError):
    """One of the plans says nothing of a bill; the message says which bill and why."""


@dataclass(slots=True)
class Comparison:
    """Amounts in fen. ``old``, ``new``: paid by payer · ``people``: by how much each person's own money (the remainder)
    rises, of those for whom anything changes · ``bills_changed``: how many bills any payer pays differently.
    """

    bills: int = 0
    bills_changed: int = 0
    persons: int = 0
    old: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    people: dict[str, int] = field(default_factory=dict)

    @property
    def pay_more(self) -> int:
        """How many persons pay more of their own."""
        return sum(change > 0 for change in self.people.values())

    @property
    def pay_less(self) -> int:
        """How many persons pay less of their own."""
        return sum(change < 0 for change in self.people.values())


def compare(bills: Iterable[PastBill], old: Plan, new: Plan, catalog: Catalog) -> Comparison:
    """Judge all bills by both versions, whatever their dates. Raises ``NotJudged``.

    A person's bills are taken by service date, in the order given within a day. What the new version would have left on
    accounts and counters after earlier bills of the same insurance year is carried to the later ones.
    """
    by_person: dict[str, list[PastBill]] = {}
    for bill in bills:
        by_person.setdefault(bill.person_id, []).append(bill)
    result = Comparison(persons=len(by_person))
    for person_id, own in by_person.items():
        _compare_person(person_id, sorted(own, key=attrgetter("service_date")), (old, new), catalog, result)
    return result


def _compare_person(
    person_id: str, bills: list[PastBill], plans: tuple[Plan, Plan], catalog: Catalog, result: Comparison
) -> None:
    old, new = plans
    lead = _Lead()
    changed, own_money = False, 0
    for bill in bills:
        before = _judged(bill, old, catalog, {}, {})
        lead.begin(new.insurance_year(bill.service_date))
        after = _judged(bill, new, catalog, lead.accounts, lead.counters(bill, _rule(bill, new).scope))
        lead.follow(bill, before, after)
        paid_before, paid_after = _by_payer(before, bill.remainder), _by_payer(after, bill.remainder)
        result.bills += 1
        result.old.update(paid_before)
        result.new.update(paid_after)
        if paid_before != paid_after:
            result.bills_changed += 1
            changed = True
        own_money += paid_after[REMAINDER] - paid_before[REMAINDER]
    if changed:
        result.people[person_id] = own_money


class _Lead:
    """By how much accounts and counters would stand higher under the new version than they did."""

    def __init__(self) -> None:
        self.accounts: Counter[str] = Counter()
        self._counted: dict[str, Counter[str]] = {}
        self._year: int | None = None

    def begin(self, year: int) -> None:
        """Counters begin anew with an insurance year; what is on the accounts stays."""
        if year != self._year:
            self._year = year
            self._counted.clear()

    def counters(self, bill: PastBill, scope: Scope) -> dict[str, int]:
        """For a bill: funds count over all visits, what is covered for visits of its kind, and not beyond a stay."""
        covered: Mapping[str, int] = self._counted.get(_kind(bill), {}) if scope == "year" else {}
        return {**self._counted.get("funds", {}), **covered}

    def follow(self, bill: PastBill, before: Outcome, after: Outcome) -> None:
        """Take note of what a bill moved under both."""
        for account in ACCOUNTS:
            self.accounts[account] += before.paid.get(account, 0) - after.paid.get(account, 0)
        for counter in {*before.counted, *after.counted}:
            kind = _kind(bill) if counter == "covered" else "funds"
            change = after.counted.get(counter, 0) - before.counted.get(counter, 0)
            self._counted.setdefault(kind, Counter())[counter] += change


def _kind(bill: PastBill) -> str:
    """Visits whose covered amounts are counted together: an emergency is an outpatient visit to every counter."""
    return "outpatient" if bill.visit_type == "emergency" else bill.visit_type


def _judged(
    bill: PastBill, plan: Plan, catalog: Catalog, accounts: Mapping[str, int], counters: Mapping[str, int]
) -> Outcome:
    return evaluate(
        _rule(bill, plan),
        plan.lines,
        judged_lines(bill, catalog, plan.lines.default_share),
        balances={name: fen_of(bill.balances.get(name, "0.00")) + accounts.get(name, 0) for name in ACCOUNTS},
        counted={name: fen_of(bill.counted.get(name, "0.00")) + counters.get(name, 0) for name in _COUNTERS},
        remainder=bill.remainder,
    )


def _rule(bill: PastBill, plan: Plan) -> Rule:
    group = plan.group_of(person_of(bill), bill.service_date)
    rule = None if group is None else plan.rules.get((bill.visit_type, group.code, bill.institution_level))
    if rule is None:
        raise NotJudged(
            f"plan {plan.code} {plan.version} says nothing of the bill of {bill.person_id} on {bill.service_date} "
            f"({bill.visit_type}, {bill.person.status})"
        )
    return rule


def _by_payer(outcome: Outcome, remainder: str) -> dict[str, int]:
    return {payer: outcome.paid.get(remainder if payer == REMAINDER else payer, 0) for payer in PAYERS}
