"""What holds for every bill, plan and state of the accounts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from settlement.policy.book import PlanBook
from settlement.policy.evaluate import JudgedLine, Outcome, Part, evaluate, judge_line
from settlement.policy.plan import Band, LineRules, Plan, Rule

BOOK = PlanBook.load()
RULES: list[tuple[Plan, Rule]] = [(plan, rule) for plan in BOOK.plans for rule in plan.distinct_rules()]

rules = st.sampled_from(RULES)
amounts = st.one_of(st.integers(0, 300), st.integers(0, 1_000_000), st.integers(0, 70_000_000))
balances = st.fixed_dictionaries(
    {"current_year": st.integers(0, 200_000), "carried_over": st.integers(0, 200_000)},
)
counters = st.fixed_dictionaries(
    {
        "covered": st.one_of(st.integers(0, 200_000), st.integers(0, 70_000_000)),
        "pooled_fund": st.one_of(st.just(0), st.integers(50_900_000, 53_100_000)),
        "additional_fund": st.integers(0, 1_000_000),
    }
)


@st.composite
def bills(draw: st.DrawFn) -> list[JudgedLine]:
    count = draw(st.integers(1, 12))
    return [
        judge_line(
            number,
            draw(st.sampled_from("AABC")),
            draw(amounts),
            share=draw(st.integers(0, 10_000)),
            ceiling_fen=draw(st.one_of(st.none(), amounts)),
        )
        for number in range(1, count + 1)
    ]


@dataclass(frozen=True)
class Case:
    """A rule of a shipped plan, a bill, and where accounts and counters stand."""

    rule: tuple[Plan, Rule]
    lines: list[JudgedLine]
    balance: dict[str, int]
    counted: dict[str, int]

    def judged(self, **changes: Any) -> Outcome:
        case = replace(self, **changes)
        plan, rule = case.rule
        return evaluate(rule, plan.lines, case.lines, balances=case.balance, counted=case.counted, remainder="bank")


cases = st.builds(Case, rules, bills(), balances, counters)


def total(line: JudgedLine) -> int:
    return line.own_expense_fen + line.above_ceiling_fen + line.self_paid_fen + line.covered_fen


@given(cases)
def test_parts_sum_to_each_line_and_none_is_of_nothing(case: Case) -> None:
    outcome = case.judged()
    by_line: Counter[int] = Counter()
    by_payer: Counter[str] = Counter()
    for part in outcome.parts:
        assert part.amount_fen > 0
        by_line[part.line_no] += part.amount_fen
        by_payer[part.payer] += part.amount_fen
    assert all(by_line[line.line_no] == total(line) for line in case.lines)
    assert by_payer == Counter(outcome.paid)
    assert all(outcome.paid.get(account, 0) <= fen for account, fen in case.balance.items())


@given(cases, st.sampled_from(["current_year", "carried_over"]), st.integers(1, 200_000))
def test_more_balance_never_raises_the_remainder(
    case: Case,
    account: str,
    more: int,
) -> None:
    before = case.judged()
    after = case.judged(balance={**case.balance, account: case.balance[account] + more})
    assert after.paid.get("bank", 0) <= before.paid.get("bank", 0)


@given(cases, st.data())
def test_a_bill_in_two_comes_to_the_same_but_for_the_rounding_of_each_band(
    case: Case,
    data: st.DataObject,
) -> None:
    first_numbers = data.draw(st.sets(st.sampled_from([line.line_no for line in case.lines])))
    whole = case.judged()
    first = case.judged(lines=[line for line in case.lines if line.line_no in first_numbers])
    left = {account: fen - first.paid.get(account, 0) for account, fen in case.balance.items()}
    moved = {name: fen + first.counted.get(name, 0) for name, fen in case.counted.items()}
    second = case.judged(
        lines=[line for line in case.lines if line.line_no not in first_numbers], balance=left, counted=moved
    )
    fen_off = sum(1 for band in case.rule[1].bands if band.fund is not None)
    for payer in {*whole.paid, *first.paid, *second.paid}:
        apart = first.paid.get(payer, 0) + second.paid.get(payer, 0)
        assert abs(apart - whole.paid.get(payer, 0)) <= fen_off
    assert first.counted.get("covered", 0) + second.counted.get("covered", 0) == whole.counted.get("covered", 0)


@given(cases)
def test_accounts_and_funds_pay_nothing_that_no_plan_covers(case: Case) -> None:
    bare = [line for line in case.lines if not line.covered_fen]
    assert set(case.judged(lines=bare).paid) <= {"bank"}


@given(cases)
def test_the_bank_is_asked_only_where_the_accounts_of_that_rule_are_used_up(case: Case) -> None:
    outcome = case.judged()
    for band in case.rule[1].bands:
        if any(part.rule == band.name and part.payer == "bank" for part in outcome.parts):
            for account in {*band.rest, *case.rule[1].first}:
                assert outcome.paid.get(account, 0) == case.balance[account]


@given(cases, st.data())
def test_of_fewer_lines_nobody_pays_more(
    case: Case,
    data: st.DataObject,
) -> None:
    """So a refund, the split less that of the lines kept, takes from nobody."""
    kept = data.draw(st.lists(st.sampled_from(case.lines), unique_by=lambda line: line.line_no))
    whole, part = case.judged(), case.judged(lines=kept)
    assert all(fen <= whole.paid.get(payer, 0) for payer, fen in part.paid.items())


@given(cases)
def test_counters_move_by_what_the_bands_took_and_no_fund_passes_its_ceiling(case: Case) -> None:
    outcome = case.judged()
    names = {band.name for band in case.rule[1].bands}
    in_bands = sum(part.amount_fen for part in outcome.parts if part.rule in names)
    assert outcome.counted.get("covered", 0) == (in_bands if case.rule[1].counts else 0)
    for band in case.rule[1].bands:
        if band.fund is None:
            continue
        paid = sum(part.amount_fen for part in outcome.parts if part.rule == band.name and part.payer == band.fund)
        if band.fund_to_fen is not None and paid:
            assert case.counted[band.fund] + paid <= band.fund_to_fen
    for fund in ("pooled_fund", "additional_fund"):
        assert outcome.counted.get(fund, 0) == outcome.paid.get(fund, 0)


def test_a_ceiling_is_kept_to_the_fen_where_a_share_ends_on_half_a_fen() -> None:
    bands = (
        Band(name="half", from_fen=0, to_fen=None, fund_to_fen=10, fund="pooled_fund", ratio=5_000, rest=()),
        Band(name="above", from_fen=None, to_fen=None, fund_to_fen=None, fund=None, ratio=0, rest=()),
    )
    rule = Rule(name="r", first=(), counts="c", scope="year", bands=bands)
    outcome = evaluate(rule, LineRules(), [judge_line(1, "A", 100)], balances={}, counted={}, remainder="cash")
    # 20 fen give 10; 21 would give 10.5, which is 11.
    assert outcome.parts == [
        Part(1, "half", "pooled_fund", 10),
        Part(1, "half", "cash", 10),
        Part(1, "above", "cash", 80),
    ]


def test_lines_are_served_in_the_order_of_their_numbers_however_they_come() -> None:
    rule = next(rule for rule in RULES if rule[1].name == "outpatient/working_44")
    lines = [judge_line(number, "A", 10_001) for number in (1, 2, 3)]
    case = Case(rule, lines, {"current_year": 15_000, "carried_over": 0}, {"covered": 145_000})
    assert case.judged(lines=lines[::-1]) == case.judged()
