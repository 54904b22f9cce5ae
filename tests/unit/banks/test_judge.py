"""What an answer proves, and what it does not."""

import datetime as dt
from dataclasses import replace

import pytest

from settlement.banks.codes import Verb, outcome_of
from settlement.banks.iso.codec import pack, unpack
from settlement.banks.iso.keys import WorkingKeys
from settlement.banks.iso.original import DebitStatus, OriginalStatus
from settlement.banks.messages import OrderError, build, judge, key_of
from settlement.banks.port import BankOrder, BankOutcome, MessageIdentity
from terminal_sdk.pin import decode_pin_block, encode_pin_block

PAN = "6222021234567890123"
KEYS = WorkingKeys(1, b"m" * 16, b"p" * 16)
NOW = dt.datetime(2026, 12, 31, 16, 30, tzinfo=dt.UTC)
TODAY = dt.date(2027, 1, 1)
IDENTITY = MessageIdentity(
    bank="ICBC", terminal_id="T0000001", transmitted="1231163000", trace="000001", reference="000000000001"
)
ORDER = BankOrder(identity=IDENTITY, amount_fen=12_345, pan=PAN, institution_id="H31010100001")
UNDO = replace(ORDER, identity=replace(IDENTITY, trace="000002", reference="000000000002"), original=IDENTITY)


def request(verb: Verb, order: BankOrder):
    return build(verb, order, keys=KEYS, acquirer="00310000", now=NOW)


def answered(verb: Verb, order: BankOrder, mac_key: bytes | None = KEYS.mac, **changes: str):
    made = request(verb, order)
    kept = {number: made.fields[number] for number in ("3", "4", "7", "11", "37", "41", "42", "53")}
    fields = {**kept, "t": made.expected.key[0], "39": "00", "38": "A1B2C3", "15": "0101", **changes}
    message = unpack(pack({number: value for number, value in fields.items() if value}, KEYS.mac))
    assert key_of(message) == made.expected.key
    return judge(made.expected, message, mac_key, TODAY)


def test_local_time_and_amount_are_laid_out_as_the_reference_says() -> None:
    fields = request(Verb.DEBIT, ORDER).fields

    assert (fields["4"], fields["12"], fields["13"], fields["49"]) == ("000000012345", "003000", "0101", "156")
    assert "52" not in fields
    assert "90" not in fields


@pytest.mark.parametrize(
    ("verb", "mti", "code"),
    [
        (Verb.DEBIT, "0200", "000000"),
        (Verb.VOID, "0200", "200000"),
        (Verb.REFUND, "0220", "200000"),
        (Verb.REVERSE, "0400", "000000"),
        (Verb.INQUIRE, "0600", "330000"),
    ],
)
def test_each_verb_has_its_message(verb: Verb, mti: str, code: str) -> None:
    fields = request(verb, ORDER if verb is Verb.DEBIT else UNDO).fields

    assert (fields["t"], fields["3"]) == (mti, code)


def test_a_pin_is_translated_to_the_banks_key() -> None:
    terminal_key = b"t" * 16
    block = encode_pin_block("123456", PAN, terminal_key)
    fields = request(Verb.DEBIT, replace(ORDER, pin_block=block, pin_key=terminal_key)).fields

    assert fields["52"] != block.hex().upper()
    assert decode_pin_block(bytes.fromhex(fields["52"]), PAN, KEYS.pin) == "123456"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"pin_block": b"x" * 16, "pin_key": b"t" * 16}, "pin_block_invalid"),
        ({"pin_block": b"x" * 16}, "pin_block_invalid"),
        ({"amount_fen": 0}, "malformed"),
        ({"amount_fen": -1}, "malformed"),
        ({"amount_fen": 10**12}, "malformed"),
        ({"pan": "62220212345678901X"}, "malformed"),
        ({"institution_id": "H" * 16}, "malformed"),
        ({"identity": replace(IDENTITY, trace="1")}, "malformed"),
        ({"identity": replace(IDENTITY, terminal_id="t0000001")}, "malformed"),
    ],
)
def test_an_order_that_cannot_be_a_message_is_refused(changes: dict[str, object], detail: str) -> None:
    with pytest.raises(OrderError) as refused:
        request(Verb.DEBIT, replace(ORDER, **changes))
    assert refused.value.detail == detail


@pytest.mark.parametrize("original", [None, replace(IDENTITY, bank="CCB")])
def test_undoing_needs_an_original_of_the_same_bank(original: MessageIdentity | None) -> None:
    with pytest.raises(OrderError):
        request(Verb.VOID, replace(UNDO, original=original))


def test_an_approval_carries_authorisation_and_settlement_date() -> None:
    answer = answered(Verb.DEBIT, ORDER)

    assert answer.outcome is BankOutcome.APPROVED
    assert (answer.authorisation, answer.settlement_date) == ("A1B2C3", dt.date(2027, 1, 1))


@pytest.mark.parametrize(
    ("changes", "detail"),
    [({"4": "000000012346"}, "wrong_amount"), ({"3": "200000"}, "wrong_code"), ({"39": ""}, "malformed")],
)
@pytest.mark.parametrize("verb", list(Verb))
def test_an_answer_to_something_else_proves_nothing(verb: Verb, changes: dict[str, str], detail: str) -> None:
    if verb in {Verb.VOID, Verb.REFUND} and detail == "wrong_code":
        changes = {"3": "000000"}
    answer = answered(verb, ORDER if verb is Verb.DEBIT else UNDO, **changes)

    assert (answer.outcome, answer.detail) == (BankOutcome.UNKNOWN, detail)


@pytest.mark.parametrize("mac_key", [b"x" * 16, None])
def test_an_answer_without_a_valid_mac_proves_nothing(mac_key: bytes | None) -> None:
    answer = answered(Verb.DEBIT, ORDER, mac_key)

    assert (answer.outcome, answer.detail, answer.response_code) == (BankOutcome.UNKNOWN, "bad_mac", None)


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("code", ["68", "91", "94", "96", "98", "A0"])
def test_some_codes_never_say_what_happened(verb: Verb, code: str) -> None:
    assert outcome_of(verb, code) is BankOutcome.UNKNOWN


def test_not_found_and_declines() -> None:
    assert outcome_of(Verb.DEBIT, "25") is BankOutcome.UNKNOWN
    assert outcome_of(Verb.REVERSE, "25") is BankOutcome.NOT_FOUND
    assert outcome_of(Verb.INQUIRE, "25") is BankOutcome.NOT_FOUND
    assert outcome_of(Verb.VOID, "13") is BankOutcome.DECLINED
    assert outcome_of(Verb.DEBIT, "51") is BankOutcome.DECLINED
    assert outcome_of(Verb.DEBIT, "ZZ") is BankOutcome.DECLINED
    assert outcome_of(Verb.INQUIRE, "12") is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("code", "status", "outcome", "detail"),
    [
        ("00", DebitStatus.LIVE, BankOutcome.APPROVED, ""),
        ("00", DebitStatus.PARTLY_REFUNDED, BankOutcome.APPROVED, ""),
        ("00", DebitStatus.REVERSED, BankOutcome.DECLINED, "reversed"),
        ("00", DebitStatus.VOIDED, BankOutcome.DECLINED, "voided"),
        ("00", DebitStatus.REFUNDED, BankOutcome.DECLINED, "refunded"),
        ("51", DebitStatus.DECLINED, BankOutcome.DECLINED, ""),
        ("51", DebitStatus.LIVE, BankOutcome.UNKNOWN, "malformed"),
        ("00", DebitStatus.DECLINED, BankOutcome.UNKNOWN, "malformed"),
    ],
)
def test_an_inquiry_says_what_became_of_the_debit(
    code: str, status: DebitStatus, outcome: BankOutcome, detail: str
) -> None:
    text = OriginalStatus(code, status, None, dt.date(2026, 12, 31)).field_62()
    answer = answered(Verb.INQUIRE, UNDO, **{"62": text})

    assert (answer.outcome, answer.detail) == (outcome, detail)
    if outcome is not BankOutcome.UNKNOWN:
        assert answer.response_code == code
        assert answer.settlement_date == dt.date(2026, 12, 31)
