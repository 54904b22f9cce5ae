"""Bills judged for their settlement: the catalog's word, the counters' names; and what refunds of them give back."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.records import CounterMove, LineFacts, LineShare, PolicyRecord, RefundFacts
from settlement.policy.book import NoPlan, PlanBook
from settlement.policy.catalog import Catalog, Item
from settlement.policy.judge import Bill, Insured, StayRef, judge, judge_refund, moves_of, part_of_line, plan_used
from settlement.policy.plan import Person
from settlement.policy.split import use_deposit
from terminal_sdk.wire import FeeLine, RefundLine, Split, StayLine

BOOK = PlanBook.load()
DAY = dt.date(2019, 8, 1)
WORKING = Person(status="working", born_on=dt.date(1990, 1, 1))
RESIDENT = Person(status="resident", born_on=dt.date(1970, 1, 1))
PAYERS = ("pooled_fund", "additional_fund", "current_year", "carried_over", "bank", "cash")


def item(code: str, category: str, share: int = 0, ceiling_fen: int | None = None) -> Item:
    return Item(
        code=code,
        name=code,
        category=category,
        share=share,
        ceiling_fen=ceiling_fen,
        valid_from=dt.date(2019, 1, 1),
        valid_to=None,
    )


CATALOG = Catalog([item("B10", "B", 1_000), item("B33", "B", 3_333), item("CAP", "A", 0, 777), item("OWN", "C")])


def line(number: int, fen: int, code: str = "?", category: str = "A", quantity: str = "1") -> FeeLine:
    return FeeLine(
        line_no=number,
        item_code=code,
        item_name="item",
        category=category,
        amount_fen=fen,
        quantity=quantity,  # type: ignore[arg-type]
    )


def judged(
    lines: Sequence[FeeLine],
    *,
    person: Person = WORKING,
    plan: str = "employees",
    counters: dict[int, dict[str, int]] | None = None,
    current_year: int = 0,
    carried_over: int = 0,
    **changes: Any,
) -> tuple[Split, PolicyRecord]:
    facts: dict[str, Any] = {"service_date": DAY, "visit_type": "outpatient", "level": 1, "remainder": "bank"}
    insured = Insured(
        plan=plan,
        person=person,
        balances={"current_year": current_year, "carried_over": carried_over},
        counters=counters or {},
    )
    split, records = judge(Bill(lines=lines, items=CATALOG, **(facts | changes)), insured, BOOK)
    assert len(records) == 1
    return split, records[0]


def moves(moved: Sequence[CounterMove]) -> dict[str, int]:
    return {move.counter: move.fen for move in moved}


def paid(split: Split) -> dict[str, int]:
    return {payer: getattr(split, f"{payer}_fen") for payer in PAYERS if getattr(split, f"{payer}_fen")}


def test_the_catalog_has_the_word_and_the_till_only_where_it_is_silent() -> None:
    split, record = judged(
        [line(1, 1_000, "OWN", "A"), line(2, 1_000, "?", "C"), line(3, 2_000, "CAP", quantity="2"), line(4, 100, "B10")]
    )
    assert split.own_expense_fen == 2_000
    assert [(each.category, each.share, each.ceiling_fen) for each in record.lines] == [
        ("C", 0, None),
        ("C", 0, None),
        ("A", 0, 1_554),
        ("B", 1_000, None),
    ]
    assert moves(record.moved) == {"covered/outpatient": 1_554 + 90}
    rules = {(part.line_no, part.rule): part.amount_fen for part in split.parts}
    assert rules[3, "above_price_ceiling"] == 446
    assert rules[4, "self_paid_share"] == 10


def test_counters_of_the_service_dates_insurance_year_count() -> None:
    counters = {2018: {"covered/outpatient": 150_000}, 2019: {"covered/outpatient": 149_000, "additional_fund": 7}}
    before, _ = judged([line(1, 1_000)], counters=counters, service_date=dt.date(2019, 6, 30))
    assert paid(before) == {"additional_fund": 650, "bank": 350}, "the year begins on 1 July"
    after, record = judged([line(1, 2_000)], counters=counters, service_date=dt.date(2019, 7, 1))
    assert paid(after) == {"additional_fund": 650, "bank": 1_350}
    assert record.counted == counters[2019]
    assert (record.insurance_year, record.version) == (2019, "2019")
    assert plan_used(record).group == "working_44"


def test_a_visit_that_counts_nothing_moves_nothing() -> None:
    _, record = judged([line(1, 1_000)], visit_type="pharmacy", current_year=300)
    assert record.moved == []
    with pytest.raises(NoPlan):
        judged([line(1, 1_000)], visit_type="spa")


def refund_facts(split: Split, record: PolicyRecord, lines: Sequence[FeeLine]) -> RefundFacts:
    return RefundFacts(
        returned_fen=0,
        bank_fen=split.bank_fen,
        deposit_fen=split.deposit_fen,
        policy=[record],
        shares=_summed([LineShare(line_no=p.line_no, payer=p.payer, amount_fen=p.amount_fen) for p in split.parts]),
        moved=list(record.moved),
    )


def _summed(shares: list[LineShare]) -> list[LineShare]:
    sums = Counter[tuple[int, str]]()
    for share in shares:
        sums[share.line_no, share.payer] += share.amount_fen
    return [LineShare(line_no=number, payer=payer, amount_fen=fen) for (number, payer), fen in sums.items()]


_lines = st.lists(
    st.tuples(st.integers(1, 90_000), st.sampled_from(["?", "B10", "B33", "CAP", "OWN"])), min_size=1, max_size=6
)
_steps = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 90_000)), min_size=1, max_size=8)


@given(
    bill=_lines,
    steps=_steps,
    accounts=st.tuples(st.integers(0, 60_000), st.integers(0, 60_000)),
    before=st.integers(0, 160_000),
    who=st.sampled_from([("employees", WORKING), ("residents", RESIDENT)]),
    level=st.integers(1, 3),
    remainder=st.sampled_from(["bank", "cash"]),
)
def test_refunds_in_any_pieces_give_no_payer_less_than_nothing_and_come_to_the_kept_bills_cost(
    bill: list[tuple[int, str]],
    steps: list[tuple[int, int]],
    accounts: tuple[int, int],
    before: int,
    who: tuple[str, Person],
    level: int,
    remainder: str,
) -> None:
    plan, person = who
    lines = [line(number, fen, code) for number, (fen, code) in enumerate(bill, start=1)]
    counters = {year: {"covered/outpatient": before} for year in (2018, 2019)}
    split, record = judged(
        lines,
        person=person,
        plan=plan,
        counters=counters,
        current_year=accounts[0],
        carried_over=accounts[1],
        level=level,
        remainder=remainder,
    )
    facts = refund_facts(split, record, lines)
    left = {each.line_no: each.amount_fen for each in lines}
    total = Counter(paid(split))
    own_expense = split.own_expense_fen
    for place, fen in steps:
        number = place % len(lines) + 1
        amount = min(fen, left[number])
        if not amount:
            continue
        kept = judge_refund(facts, [RefundLine(line_no=number, amount_fen=amount)], BOOK)
        given_back = Counter[str]()
        by_line = Counter[int]()
        for share in kept.shares:
            given_back[share.payer] += share.amount_fen
            by_line[share.line_no] += share.amount_fen
        assert min(given_back.values()) >= 0, "no payer pays more because something is given back"
        assert min(moves(kept.counters).values(), default=0) >= 0
        assert {number: fen for number, fen in by_line.items() if fen} == {number: amount}
        assert 0 <= kept.own_expense_fen <= own_expense
        left[number] -= amount
        own_expense -= kept.own_expense_fen
        total -= given_back
        shares = Counter({(each.line_no, each.payer): each.amount_fen for each in facts.shares})
        shares.subtract({(each.line_no, each.payer): each.amount_fen for each in kept.shares})
        assert min(shares.values()) >= 0
        moved = Counter(moves(facts.moved))
        moved.subtract(moves(kept.counters))
        facts = RefundFacts(
            returned_fen=0,
            bank_fen=facts.bank_fen,
            deposit_fen=facts.deposit_fen,
            policy=[record],
            shares=[LineShare(line_no=n, payer=p, amount_fen=fen) for (n, p), fen in shares.items()],
            moved=[msgspec.structs.replace(move, fen=moved[move.counter]) for move in record.moved],
        )
    # What stands in the end is what the kept lines alone cost, under the same snapshot.
    rest = [LineShare(line_no=n, payer="", amount_fen=fen) for n, fen in left.items() if fen]
    assert sum(total.values()) == sum(share.amount_fen for share in rest)
    gone = judge_refund(facts, [RefundLine(line_no=share.line_no) for share in rest], BOOK)
    final = Counter[str]()
    for share in gone.shares:
        final[share.payer] += share.amount_fen
    assert {payer: fen for payer, fen in final.items() if fen} == {payer: fen for payer, fen in total.items() if fen}
    assert moves(gone.counters) == {name: fen for name, fen in moves(facts.moved).items() if fen}
    assert gone.own_expense_fen == own_expense


@given(
    amount=st.integers(1, 5_000), share=st.integers(0, 10_000), ceiling=st.none() | st.integers(0, 6_000), cut=st.data()
)
def test_each_part_of_a_line_shrinks_with_it(amount: int, share: int, ceiling: int | None, cut: st.DataObject) -> None:
    whole = LineFacts(line_no=1, amount_fen=amount, category="B", share=share, ceiling_fen=ceiling)
    kept = cut.draw(st.integers(1, amount))
    smaller = part_of_line(whole, kept)
    ceiling_now = smaller.ceiling_fen
    if ceiling is None:
        assert ceiling_now is None
    else:
        assert ceiling_now is not None
        assert abs(ceiling_now * amount - ceiling * kept) * 2 <= amount
    if kept == amount:
        assert smaller == whole


def test_a_refund_needs_the_very_version_that_judged_the_bill() -> None:
    lines = [line(1, 1_000)]
    split, record = judged(lines)
    with pytest.raises(NoPlan, match="by which the bill was judged"):
        judge_refund(refund_facts(split, record, lines), [RefundLine(line_no=1)], PlanBook(()))


def test_lines_that_are_not_there_are_left_to_the_ledger() -> None:
    lines = [line(1, 1_000)]
    split, record = judged(lines)
    facts = refund_facts(split, record, lines)
    assert judge_refund(facts, [RefundLine(line_no=9)], BOOK).shares == []
    whole = judge_refund(facts, [RefundLine(line_no=1, amount_fen=5_000)], BOOK)
    assert whole.shares == [LineShare(line_no=1, payer="bank", amount_fen=1_000)]


def test_the_pieces_of_a_stay_share_the_accounts() -> None:
    """Over the turn of the year: what the first piece took from an account is not there for the second."""
    retired = Person(status="retired", born_on=dt.date(1950, 1, 1), retired_on=dt.date(2005, 1, 1))
    fees = [
        StayLine(line_no=1, item_code="?", item_name="i", category="A", amount_fen=130_000, service_date=DAY),
        StayLine(
            line_no=2, item_code="?", item_name="i", category="A", amount_fen=140_000, service_date=dt.date(2020, 7, 1)
        ),
    ]
    bill = Bill(
        lines=fees,
        service_date=dt.date(2020, 7, 1),
        visit_type="inpatient",
        level=3,
        items=Catalog(),
        remainder="bank",
        stay=StayRef(uuid.UUID(int=1), DAY),
    )
    insured = Insured(plan="employees", person=retired, balances={"carried_over": 150_000}, counters={})
    split, records = judge(bill, insured, BOOK)
    # 1200.00 deductible in each year, above it 92 %: 1208.00 of the account in the first, what is left in the second.
    assert paid(split) == {"pooled_fund": 27_600, "carried_over": 150_000, "bank": 92_400}
    assert [record.balances for record in records] == [{"carried_over": 150_000}, {"carried_over": 29_200}]
    assert [(move.insurance_year, move.counter, move.fen) for move in moves_of(records)] == [
        (2019, "pooled_fund", 9_200),
        (2019, "covered/inpatient", 130_000),
        (2020, "pooled_fund", 18_400),
        (2020, "covered/inpatient", 140_000),
    ]


@given(bill=_lines, deposit=st.integers(0, 200_000), remainder=st.sampled_from(["bank", "cash"]))
def test_a_deposit_pays_what_else_the_patient_would(bill: list[tuple[int, str]], deposit: int, remainder: str) -> None:
    split, _ = judged([line(n, fen, code) for n, (fen, code) in enumerate(bill, start=1)], remainder=remainder)
    used = use_deposit(split, deposit)
    own = split.bank_fen + split.cash_fen
    assert used.deposit_fen == min(deposit, own)
    assert used.bank_fen + used.cash_fen == own - used.deposit_fen
    assert sum(part.amount_fen for part in used.parts) == used.total_fen == split.total_fen
    assert all(part.amount_fen > 0 for part in used.parts)
    by_deposit = sum(part.amount_fen for part in used.parts if part.payer == "deposit")
    assert by_deposit == used.deposit_fen
