"""A till's last word, read from real journals: what ended an attempt, and what was taken back after it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from chaos.words import TillWord, Words, read_words
from terminal_sdk import Journal, wire
from terminal_sdk.crypto import Sm2PrivateKey

KEY = Sm2PrivateKey.from_bytes(bytes(range(1, 33)))
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
TERMINAL = "LTH00000"
REQUEST = wire.SettlementRequest(
    idempotency_key="k-000001",
    visit_no="VISIT-1",
    visit_type="outpatient",
    service_date=NOW.date(),
    card=wire.CardRef(card_number="A12345678", certificate_fingerprint="0" * 64),
    lines=[wire.FeeLine(line_no=1, item_code="ZC", item_name="敷料", category="C", amount_fen=1_980)],
    total_fen=1_980,
    proof=wire.LegacyProof(static_data="00", check_value="0" * 16),
)
SETTLED = wire.Settlement(
    settlement_id="s-1",
    idempotency_key="k-000001",
    visit_no="VISIT-1",
    state="settled",
    final=True,
    split=wire.Split(
        total_fen=1_980, own_expense_fen=1_980, current_year_fen=0, carried_over_fen=0, bank_fen=1_980, cash_fen=0
    ),
    accepted_at=NOW,
    deadline_at=NOW,
    posting_date=NOW.date(),
    bank=wire.BankPart(bank="BOSC", amount_fen=1_980, state="posted", reference="R00000000001"),
    bank_notice=None,
    decline=None,
    receipt_id="s-1",
    reversal_id=None,
)
BACK = wire.Reversal(
    reversal_id="r-1",
    idempotency_key="rev-0001",
    settlement_id="s-1",
    state="reversed",
    final=True,
    returned=None,
    bank=None,
    receipt_id=None,
)
REFUSED = wire.ErrorBody(error=wire.ErrorDetail(code="CARD_EXPIRED", message="the card has expired"))


@dataclass(frozen=True)
class Owner:
    """All that reading journals asks of a terminal's credentials."""

    terminal_id: str = TERMINAL
    key: Sm2PrivateKey = KEY


@pytest.fixture
def own() -> Owner:
    return Owner()


def attempt(folder: Path, key: str = "k-000001", *, name: str = TERMINAL) -> Journal:
    journal = Journal(folder / f"{name}.sqlite", terminal_id=TERMINAL, key=KEY)
    body = wire.encode(msgspec.structs.replace(REQUEST, idempotency_key=key))
    journal.prepare(key, "settlement", "/v1/settlements", body, session_id="s", at=NOW)
    journal.mark_sent(key, NOW)
    return journal


def reverse(journal: Journal, path: str, request: wire.ReversalRequest | wire.ReversalByKeyRequest) -> None:
    journal.prepare("rev-0001", "reversal", path, wire.encode(request), session_id="", at=NOW)


def the_word(words: Words) -> TillWord:
    (word,) = words.by_key.values()
    return word


def test_a_settled_bill_names_the_banks_share_as_the_till_was_told(tmp_path: Path, own: Owner) -> None:
    with attempt(tmp_path) as journal:
        journal.answer("k-000001", "settlement", wire.encode(SETTLED), NOW, "s-1")
    words = read_words(tmp_path, [own])
    assert words == Words(
        by_key={
            "k-000001": TillWord(
                terminal_id=TERMINAL,
                key="k-000001",
                visit_no="VISIT-1",
                word="settled",
                settlement_id="s-1",
                bank_fen=1_980,
                bank="BOSC",
                reference="R00000000001",
            )
        },
        open_attempts=0,
        contradictions=[],
    )


@pytest.mark.parametrize(
    ("state", "word"),
    [("declined", "declined"), ("reversed", "reversed"), ("reversing", "reversed"), ("pending", "open")],
)
def test_the_state_that_was_answered_is_the_word(
    tmp_path: Path, own: Owner, state: wire.SettlementState, word: str
) -> None:
    with attempt(tmp_path) as journal:
        answer = msgspec.structs.replace(SETTLED, state=state)
        journal.answer("k-000001", "settlement", wire.encode(answer), NOW, "s-1")
    found = the_word(read_words(tmp_path, [own]))
    assert (found.word, found.bank_fen, found.reference) == (word, 0, "")


def test_refused_never_sent_and_open(tmp_path: Path, own: Owner) -> None:
    with attempt(tmp_path) as journal:
        journal.answer("k-000001", "refusal", wire.encode(REFUSED), NOW)
    with attempt(tmp_path, "k-000002") as journal:
        journal.answer("k-000002", "never_sent", wire.encode(REFUSED), NOW)
    attempt(tmp_path, "k-000003").close()
    words = read_words(tmp_path, [own])
    assert [(key, each.word) for key, each in sorted(words.by_key.items())] == [
        ("k-000001", "refused"),
        ("k-000002", "never_sent"),
        ("k-000003", "open"),
    ]
    assert words.open_attempts == 1


def test_a_settled_bill_that_was_taken_back_by_its_name_is_reversed(tmp_path: Path, own: Owner) -> None:
    with attempt(tmp_path) as journal:
        journal.answer("k-000001", "settlement", wire.encode(SETTLED), NOW, "s-1")
        reverse(journal, "/v1/settlements/s-1/reversal", wire.ReversalRequest(idempotency_key="rev-0001"))
        assert the_word(read_words(tmp_path, [own])).word == "settled"  # asked for, not answered
        assert read_words(tmp_path, [own]).open_attempts == 1
        journal.answer("rev-0001", "reversal", wire.encode(BACK), NOW)
    found = the_word(read_words(tmp_path, [own]))
    assert (found.word, found.bank_fen, found.settlement_id) == ("reversed", 0, "s-1")


def test_a_second_journal_of_the_same_terminal_counts_as_well(tmp_path: Path, own: Owner) -> None:
    with attempt(tmp_path) as journal:
        journal.answer("k-000001", "settlement", wire.encode(SETTLED), NOW, "s-1")
    by_key = wire.ReversalByKeyRequest(idempotency_key="rev-0001", original_idempotency_key="k-000001")
    with attempt(tmp_path, name=f"{TERMINAL}-2") as second:
        assert read_words(tmp_path, [own]).open_attempts == 1
        reverse(second, "/v1/reversals", by_key)
        second.answer("rev-0001", "reversal", wire.encode(BACK), NOW)
    assert the_word(read_words(tmp_path, [own])).word == "reversed"


def test_settled_in_one_journal_and_declined_in_the_other_is_a_contradiction(tmp_path: Path, own: Owner) -> None:
    with attempt(tmp_path) as journal:
        journal.answer("k-000001", "settlement", wire.encode(SETTLED), NOW, "s-1")
    with attempt(tmp_path, name=f"{TERMINAL}-2") as second:
        declined = msgspec.structs.replace(SETTLED, state="declined")
        second.answer("k-000001", "settlement", wire.encode(declined), NOW, "s-1")
    words = read_words(tmp_path, [own])
    assert words.contradictions == ["k-000001"]
    assert the_word(words).word == "settled"
