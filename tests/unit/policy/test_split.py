"""The split as properties: what must hold for every bill and every balance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from settlement.policy.split import Balances, split_bill
from terminal_sdk.wire import FeeLine

amounts = st.integers(0, 10_000_000)
bills = st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), amounts), min_size=1, max_size=30)


def lines_of(bill: list[tuple[str, int]]) -> list[FeeLine]:
    return [
        FeeLine(line_no=number, item_code="x", item_name="x", category=category, amount_fen=fen)  # type: ignore[arg-type]
        for number, (category, fen) in enumerate(bill, start=1)
    ]


@given(bills, amounts, amounts, st.sampled_from(["bank", "cash"]))
def test_parts_sum_to_the_bill_and_to_each_line(
    bill: list[tuple[str, int]], current_year: int, carried_over: int, payer: str
) -> None:
    lines = lines_of(bill)
    split = split_bill(lines, Balances(current_year, carried_over, 1), payer)  # type: ignore[arg-type]
    total = sum(each.amount_fen for each in lines)
    assert split.current_year_fen + split.carried_over_fen + split.bank_fen + split.cash_fen == total == split.total_fen
    for line in lines:
        assert sum(part.amount_fen for part in split.parts if part.line_no == line.line_no) == line.amount_fen
    assert all(part.amount_fen > 0 for part in split.parts)
    assert split.bank_fen == 0 or payer == "bank"
    assert split.cash_fen == 0 or payer == "cash"


@given(bills, amounts, amounts)
def test_class_c_is_never_on_insurance(bill: list[tuple[str, int]], current_year: int, carried_over: int) -> None:
    lines = lines_of(bill)
    split = split_bill(lines, Balances(current_year, carried_over, 1), "bank")
    own_expense = {line.line_no for line in lines if line.category == "C"}
    assert all(part.payer == "bank" for part in split.parts if part.line_no in own_expense)
    assert split.own_expense_fen == sum(line.amount_fen for line in lines if line.category == "C")


@given(bills, amounts, amounts)
def test_the_bank_is_asked_only_for_what_no_account_can_pay(
    bill: list[tuple[str, int]], current_year: int, carried_over: int
) -> None:
    split = split_bill(lines_of(bill), Balances(current_year, carried_over, 1), "bank")
    payable = split.total_fen - split.own_expense_fen
    assert split.current_year_fen == min(payable, current_year)
    assert split.carried_over_fen == min(payable - split.current_year_fen, carried_over)


@given(bills, amounts, amounts, amounts)
def test_more_balance_never_raises_the_banks_share(
    bill: list[tuple[str, int]], current_year: int, carried_over: int, more: int
) -> None:
    lines = lines_of(bill)
    before = split_bill(lines, Balances(current_year, carried_over, 1), "bank").bank_fen
    assert split_bill(lines, Balances(current_year + more, carried_over, 1), "bank").bank_fen <= before
    assert split_bill(lines, Balances(current_year, carried_over + more, 1), "bank").bank_fen <= before
