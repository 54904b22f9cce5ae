"""The bank application and the PPSE of the virtual card, APDU by APDU; and what a terminal accepts of any other."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.card import MalformedCardData, VirtualCard, bank

Send = Callable[[VirtualCard, str], str]
SELECT = "00A4040008A000000333010101"
PPSE = "00A404000E325041592E5359532E4444463031"
FCI = "6F1B" + "8408A000000333010101" + "A50F" + "500A" + b"ICBC DEBIT".hex().upper() + "870101" + "9000"
GPO = "80A80000028300"
RECORD_1 = "7019" + "5712" + "6222020200112233445D2812220" + "00000000F" + "5F2002202F" + "9000"
RECORD_2 = "7012" + "5A0A" + "6222020200112233445F" + "5F2403281219" + "9000"


def test_a_reading_on_the_contacts(send: Send, third: VirtualCard) -> None:
    assert send(third, SELECT) == "611D"
    assert send(third, "00C000001D") == FCI
    assert send(third, GPO) == "6108"
    assert send(third, "00C0000008") == "8006" + "7C00" + "08010200" + "9000"
    assert send(third, "00B2010C00") == "6C1B"
    assert send(third, "00B2010C1B") == RECORD_1
    assert send(third, "00B2020C14") == RECORD_2
    assert send(third, "00B2030C00") == "6A83"


def test_a_reading_in_the_field_begins_with_the_directory(send: Send, contactless: VirtualCard) -> None:
    entry = "4F08A000000333010101" + "500A" + b"ICBC DEBIT".hex().upper() + "870101"
    directory = "A51E" + "BF0C1B" + "6119" + entry

    assert send(contactless, PPSE + "00") == "6F30" + "840E325041592E5359532E4444463031" + directory + "9000"
    assert send(contactless, SELECT + "00") == FCI
    assert send(contactless, GPO + "00") == "80067C0008010200" + "9000"
    assert send(contactless, "00B2010C00") == RECORD_1
    assert send(contactless, "00B2020C00") == RECORD_2


def test_the_directory_is_in_the_field_only(send: Send, third: VirtualCard) -> None:
    assert send(third, PPSE) == "6A82"
    assert send(third, "00A404000E315041592E5359532E4444463031") == "6A82"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("00B2010C1B", "6985"),  # no transaction started
        ("80A80000", "6700"),
        ("80A80100028300", "6A86"),
        ("80A8000004830212FF", "6A80"),
        ("00A80000028300", "6E00"),
        ("80AE800000", "6985"),
        ("0020000003123456", "6D00"),
        ("0088000020" + "00" * 32, "6D00"),
        ("00A4000002EF05", "6A82"),
        ("00B0000000", "6D00"),
    ],
)
def test_refusals(send: Send, third: VirtualCard, command: str, status: str) -> None:
    send(third, SELECT)

    assert send(third, command) == status


def test_one_transaction_per_selection(send: Send, third: VirtualCard) -> None:
    send(third, SELECT)
    assert send(third, GPO) == "6108"
    assert send(third, GPO) == "6985"
    send(third, SELECT)
    assert send(third, "00B2010C1B") == "6985"
    assert send(third, GPO) == "6108"


def test_the_directory_answers_no_other_command(send: Send, contactless: VirtualCard) -> None:
    send(contactless, PPSE + "00")

    assert send(contactless, "00B2010C00") == "6D00"
    assert send(contactless, "00A4000002EF05") == "6A82"


def test_a_legacy_card_has_no_bank_application(send: Send, legacy: VirtualCard) -> None:
    assert send(legacy, SELECT) == "6A82"


@settings(deadline=None)
@given(st.text("0123456789", min_size=13, max_size=19), st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 31)))
def test_account_number_and_expiry_are_read_back(pan: str, expiry: dt.date) -> None:
    found = bank.parse_records(bank.records(pan, expiry), "X")

    assert (found.pan, found.expiry) == (pan, expiry)
    assert pan not in repr(found)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_answers_are_accepted_or_the_typed_error(data: bytes) -> None:
    for parse in (
        bank.parse_ppse,
        bank.parse_record_list,
        lambda answer: bank.parse_label(answer, bank.BANK_AID),
        lambda record: bank.parse_records([record], "X"),
    ):
        with contextlib.suppress(MalformedCardData):
            parse(data)


def test_both_formats_of_the_processing_options() -> None:
    assert bank.parse_record_list(bytes.fromhex("80067C0008010200")) == [(1, 1), (1, 2)]
    assert bank.parse_record_list(bytes.fromhex("770E82027C009408" + "08010100" + "10020300")) == [
        (1, 1),
        (2, 2),
        (2, 3),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "80027C00",  # no locator
        "80057C00080102",
        "80067C0009010200",  # low bits of the SFI byte
        "80067C0008000200",
        "80067C0008030200",
        "80067C000801FF00",  # 255 records
        "7706" + "8202" + "7C00" + "9400",
        "77048202" + "7C00",
        "800080027C00",
        "8101AA",
    ],
)
def test_a_wrong_record_list_is_refused(answer: str) -> None:
    with pytest.raises(MalformedCardData, match="processing options"):
        bank.parse_record_list(bytes.fromhex(answer))


@pytest.mark.parametrize(
    ("record", "where"),
    [
        ("7000", "bank application records"),
        ("7113" + RECORD_2[4:-4], "bank application records"),
        ("7004" + "5A021234", "bank application records tag 5A"),
        ("700C" + "5A0A" + "62A2020200112233445F", "bank application records tag 5A"),
        ("7013" + "5A0A6222020200112233445F" + "5F240428120001", "bank application records tag 5F24"),
        ("7012" + "5A0A6222020200112233445F" + "5F2403281301", "bank application records tag 5F24"),
        ("7026" + RECORD_1[4:50][:40] + "5A0A6222020200112233446F" + "5F2403281219", "bank application records"),
    ],
)
def test_wrong_records_are_refused(record: str, where: str) -> None:
    with pytest.raises(MalformedCardData) as caught:
        bank.parse_records([bytes.fromhex(record)], "X")

    assert caught.value.where == where


def test_account_number_and_track_2_must_agree() -> None:
    first, second = bank.records("6222020200112233445", dt.date(2028, 12, 19))
    other, _ = bank.records("6222020200112233446", dt.date(2028, 12, 19))

    assert bank.parse_records([first, second], "X").pan == "6222020200112233445"
    with pytest.raises(MalformedCardData, match="disagree") as caught:
        bank.parse_records([other, second], "X")
    assert "62220202" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    ["6F0A8408A000000333010102", "6F0C8408A000000333010101" + "A500" + "00", "6F0F8408A000000333010101A5035001FF"],
)
def test_a_wrong_fci_is_refused(answer: str) -> None:
    with pytest.raises(MalformedCardData):
        bank.parse_label(bytes.fromhex(answer), bank.BANK_AID)
