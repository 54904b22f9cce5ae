"""Lost and doubled, counted on made-up books: nothing on good ones, and each wrong thing under its own name."""

from __future__ import annotations

import dataclasses
from typing import Any

from chaos.judge import Account, Debit, LedgerBill, Verdict, account_sums, judge
from chaos.words import TillWord

WORD = TillWord(
    terminal_id="LTH00000",
    key="k1",
    visit_no="v1",
    word="settled",
    settlement_id="s1",
    bank="BOSC",
    reference="R1",
    bank_fen=1_980,
)
DEBIT = Debit(bank="BOSC", reference="R1", amount_fen=1_980)
BILL = LedgerBill(
    settlement_id="s1", key="k1", visit_no="v1", state="settled", stands=True, bank="BOSC", reference="R1"
)
PLAIN = TillWord(terminal_id="LTH00000", key="k2", visit_no="v2", word="settled", settlement_id="s2")
PLAIN_BILL = LedgerBill(settlement_id="s2", key="k2", visit_no="v2", state="settled", stands=True)
BACK = dataclasses.replace(WORD, word="reversed", bank_fen=0, bank="", reference="")
BACK_BILL = dataclasses.replace(BILL, state="reversed", stands=False)


def wrong(verdict: Verdict) -> dict[str, int]:
    counts = {name: len(lines) for name, lines in dataclasses.asdict(verdict).items()}
    return {name: count for name, count in counts.items() if count}


def other(thing: Any, **changes: Any) -> Any:
    return dataclasses.replace(thing, **changes)


def test_good_books_have_nothing_wrong() -> None:
    never_came = TillWord(terminal_id="LTH00000", key="k3", visit_no="v3", word="reversed")
    refused = other(never_came, key="k4", visit_no="v4", word="refused")
    assert wrong(judge([WORD, PLAIN, never_came, refused], [DEBIT], [BILL, PLAIN_BILL])) == {}
    assert wrong(judge([BACK], [], [BACK_BILL])) == {}
    assert wrong(judge([], [], [])) == {}


def test_told_settled_and_not_in_the_ledger_is_lost() -> None:
    assert wrong(judge([PLAIN], [], [])) == {"lost": 1, "words_differ": 1}
    assert wrong(judge([WORD], [], [BACK_BILL])) == {"lost": 1, "words_differ": 1, "bank_differs": 1}
    assert wrong(judge([other(PLAIN, settlement_id="s9")], [], [PLAIN_BILL])) == {"lost": 1}


def test_money_at_a_bank_without_a_settled_bill_is_lost() -> None:
    assert wrong(judge([BACK], [DEBIT], [BACK_BILL])) == {"lost": 1, "bank_differs": 1}
    assert wrong(judge([], [DEBIT], [])) == {"lost": 1, "bank_differs": 1}


def test_two_live_debits_for_one_bill_are_doubled() -> None:
    twice = judge([WORD], [DEBIT, DEBIT], [BILL])
    assert twice.doubled == ["v1: 2 live debits"]
    assert wrong(twice) == {"doubled": 1, "bank_differs": 1}
    second = other(BILL, settlement_id="s5", key="k5", reference="R5", state="reversed", stands=False)
    under_another_reference = judge([WORD], [DEBIT, other(DEBIT, reference="R5")], [BILL, second])
    assert under_another_reference.doubled == ["v1: 2 live debits"]


def test_two_settlements_of_one_bill_are_doubled() -> None:
    second = other(PLAIN_BILL, settlement_id="s6", key="k6")
    both = judge([PLAIN, other(PLAIN, key="k6", settlement_id="s6")], [], [PLAIN_BILL, second])
    assert both.doubled == ["v2: 2 settlements stand"]
    assert wrong(both) == {"doubled": 1}


def test_a_debit_that_the_bank_does_not_have_or_has_otherwise_differs() -> None:
    assert wrong(judge([WORD], [], [BILL])) == {"bank_differs": 1}
    assert wrong(judge([WORD], [other(DEBIT, amount_fen=1_979)], [BILL])) == {"bank_differs": 1}


def test_a_word_that_is_not_the_ledgers_state_differs() -> None:
    assert wrong(judge([other(PLAIN, word="declined")], [], [PLAIN_BILL])) == {"words_differ": 1}
    assert wrong(judge([other(PLAIN, word="refused")], [], [PLAIN_BILL])) == {"words_differ": 1}
    assert wrong(judge([other(PLAIN, word="open")], [], [PLAIN_BILL])) == {"words_differ": 1}
    assert wrong(judge([], [], [PLAIN_BILL])) == {"words_differ": 1}
    assert wrong(judge([other(PLAIN, word="declined")], [], [])) == {"words_differ": 1}
    assert wrong(judge([other(PLAIN, word="reversed")], [], [])) == {"words_differ": 1}


def test_what_is_still_on_its_way_is_named() -> None:
    pending = judge([other(PLAIN, word="open")], [], [other(PLAIN_BILL, state="pending", stands=False)])
    assert pending.not_final == ["k2: pending"]


def test_an_account_from_which_more_or_less_is_gone_than_tills_were_told_is_found() -> None:
    card_of = {"v1": "622200000000001234", "v2": "622200000000005678"}
    good = Account(bank="BOSC", pan=card_of["v1"], taken_fen=1_980)
    idle = Account(bank="BOSC", pan=card_of["v2"], taken_fen=0)
    assert account_sums([WORD, PLAIN], [good, idle], card_of) == []
    assert account_sums([WORD], [other(good, taken_fen=3_960)], card_of) == [
        "BOSC account …1234: the tills were told 1980 fen, 3960 are gone"
    ]
    assert len(account_sums([WORD], [other(good, taken_fen=0)], card_of)) == 1
    assert len(account_sums([BACK], [good], card_of)) == 1
