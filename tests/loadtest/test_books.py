"""The tills against the ledger: each way in which the two can differ is found, and named."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from loadtest.books import PARTS, Comparison, compare, shortened
from loadtest.plan import Arrival, Wish
from loadtest.visits import Visit
from terminal_sdk import Declined, FeeLine, NotYetKnown, Receipt, Refused, Reversed, Settled
from terminal_sdk.wire import ErrorDetail, Reversal, Settlement, SettlementState, Split

MOMENT = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
WISH = Wish(lines=(FeeLine(line_no=1, item_code="X", item_name="x", category="A", amount_fen=1_000),))


async def no_receipt(_: str) -> Receipt:
    raise AssertionError


def a_settlement(number: int, state: SettlementState = "settled") -> Settlement:
    split = Split(
        total_fen=1_000, own_expense_fen=0, current_year_fen=600, carried_over_fen=0, bank_fen=400, cash_fen=0
    )
    return Settlement(
        settlement_id=f"s-{number}",
        idempotency_key=f"k-{number}",
        visit_no=f"V-{number}",
        state=state,
        final=True,
        split=split,
        accepted_at=MOMENT,
        deadline_at=MOMENT,
        posting_date=MOMENT.date(),
        bank=None,
        bank_notice=None,
        decline=None,
        receipt_id=None,
        reversal_id=None,
    )


def a_visit(number: int) -> Visit:
    arrival = Arrival(
        number=number,
        at_ms=0,
        kind="desk",
        terminal_id="LTH00000",
        patient=0,
        hot=False,
        counter=1,
        after=None,
        visit_no=f"V-{number}",
        wish=WISH,
    )
    return Visit(arrival=arrival, due_ms=0, started_ms=0, key=f"k-{number}")


def settled(number: int) -> Visit:
    visit = a_visit(number)
    visit.note(Settled(settlement=a_settlement(number), fetch_receipt=no_receipt), 10.0)
    return visit


def taken_back(number: int) -> Visit:
    visit = settled(number)
    reversal = Reversal(
        reversal_id="r",
        idempotency_key="rk",
        settlement_id=f"s-{number}",
        state="reversed",
        final=True,
        returned=None,
        bank=None,
        receipt_id=None,
    )
    visit.reversal = Reversed(idempotency_key="rk", reversal=reversal)
    return visit


def declined(number: int) -> Visit:
    visit = a_visit(number)
    settlement = a_settlement(number, "declined")
    visit.note(Declined(settlement=settlement, code="BANK_INSUFFICIENT_FUNDS", message="", bank_code="51"), 10.0)
    return visit


def refused(number: int) -> Visit:
    visit = a_visit(number)
    visit.note(Refused(idempotency_key=visit.key, detail=ErrorDetail(code="CARD_LOST", message="")), 10.0)
    return visit


def unknown(number: int) -> Visit:
    visit = a_visit(number)
    visit.note(NotYetKnown(idempotency_key=visit.key, reason="timeout"), 10.0)
    return visit


def a_row(number: int, **changed: Any) -> dict[str, Any]:
    amounts = dict(zip((f"{part}_fen" for part in PARTS), (600, 0, 400, 0), strict=True))
    row = {"settlement_id": f"s-{number}", "idempotency_key": f"k-{number}", "decision": "forward", "returned_fen": 0}
    return {**row, **amounts, "bill_fen": 1_000, **changed}


def posted(number: int, **changed: int) -> dict[str, dict[str, int]]:
    return {f"s-{number}": {"current_year": 600, "bank": 400, **changed}}


def checks(comparison: Comparison) -> set[str]:
    return {finding.check for finding in comparison.findings}


def test_agreement_finds_nothing() -> None:
    visits = [settled(1), taken_back(2), declined(3), refused(4), unknown(5)]
    rows = [a_row(1), a_row(2, returned_fen=1_000), a_row(3, decision="backward")]
    found = compare(visits, rows, posted(1) | posted(2))
    assert found.findings == ()
    assert found.tills == found.ledger
    assert found.tills["settled"].bills == 1
    assert found.tills["reversed"].fen == {"current_year": 600, "carried_over": 0, "bank": 400, "cash": 0}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (None, {"settled_in_ledger", "sums"}),
        (a_row(1, decision="backward"), {"settled_in_ledger", "sums"}),
        (a_row(1, decision="open"), {"settled_in_ledger", "sums"}),
        (a_row(1, returned_fen=1_000), {"settled_in_ledger", "sums"}),
        (a_row(1, bank_fen=399, cash_fen=1), {"settled_in_ledger", "sums"}),
        (a_row(1, settlement_id="s-9"), {"settled_in_ledger", "settled_is_posted"}),
    ],
)
def test_what_a_till_saw_settled_must_stand_to_the_fen(row: dict[str, Any] | None, expected: set[str]) -> None:
    assert checks(compare([settled(1)], [] if row is None else [row], posted(1))) == expected


@pytest.mark.parametrize("amounts", [{"bank": 401}, {"cash": 5}, {"current_year": 0}])
def test_what_a_till_saw_settled_must_be_posted_to_the_fen(amounts: dict[str, int]) -> None:
    assert checks(compare([settled(1)], [a_row(1)], posted(1, **amounts))) == {"settled_is_posted"}


@pytest.mark.parametrize(
    ("visit", "check"),
    [
        (taken_back(1), "reversed_in_ledger"),
        (declined(1), "not_charged"),
        (refused(1), "not_charged"),
        (unknown(1), "outcome_unknown_to_till"),
        (a_visit(1), "outcome_unknown_to_till"),
    ],
)
def test_what_no_till_saw_settled_must_not_stand(visit: Visit, check: str) -> None:
    assert checks(compare([visit], [a_row(1)], posted(1))) == {check, "sums"}


def test_a_settlement_that_nobody_sent_is_found() -> None:
    assert checks(compare([], [a_row(1)], posted(1))) == {"ledger_unknown_to_tills", "sums"}


def test_answers_that_contradict_each_other_are_found_and_long_lists_cut() -> None:
    visits = [settled(number) for number in range(1, 31)]
    for visit in visits:
        visit.problems.append("the same key gave another settlement")
    found = compare(
        visits, [a_row(n) for n in range(1, 31)], {k: v for n in range(1, 31) for k, v in posted(n).items()}
    )
    assert checks(found) == {"till_answers"}
    lines = shortened(found.findings)
    assert len(lines) == 21
    assert lines[-1] == "till_answers: and 10 more"
