"""Worked bills: the plans that are shipped give each payer what the table says, by the rule that it names."""

from __future__ import annotations

import pytest

from settlement.policy.book import PlanBook
from tests.unit.policy.worked import WorkedBill, fen, worked_bills

BILLS = worked_bills()


@pytest.fixture(scope="module")
def book() -> PlanBook:
    return PlanBook.load()


@pytest.mark.parametrize("bill", BILLS, ids=lambda bill: bill.what)
def test_a_bill_is_paid_as_it_was_worked_out(book: PlanBook, bill: WorkedBill) -> None:
    rule, outcome = bill.judged(book)
    assert rule == bill.data["rule"]
    assert dict(outcome.paid) == {payer: fen(yuan) for payer, yuan in bill.data["expect"].items()}


def test_the_table_covers_every_rule_group_and_level_of_the_plans(book: PlanBook) -> None:
    assert len(BILLS) >= 60
    assert len({bill.what for bill in BILLS}) == len(BILLS)
    seen = set()
    for bill in BILLS:
        data = bill.data
        group = book.judgement(data["plan"], data["day"], bill.person(), data["visit"], data["level"]).group
        seen.add((data["plan"], data["visit"].replace("emergency", "outpatient"), group.code, data["level"]))
    by_level = {
        (plan.code, visit, group, level)
        for plan in book.plans
        for (visit, group, level), rule in plan.rules.items()
        if visit == "outpatient"
    }
    assert by_level <= seen
    assert {rule.name for plan in book.plans for rule in plan.rules.values()} == {bill.data["rule"] for bill in BILLS}
