"""EF05 and EF06 byte for byte, and what of them a terminal accepts."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.card import CardImage, MalformedCardData, parse_static_data, tlv
from terminal_sdk.card.layout import HOLDER_LENGTHS, PUBLIC_LENGTHS, holder_name_and_number, padded_text, public_file


def test_the_application_name_is_gbk() -> None:
    assert bytes.fromhex("7378312E73682EC9E7BBE1B1A3D5CF").decode("gbk") == "sx1.sh.社会保障"


def test_ef05_byte_for_byte(third_image: CardImage) -> None:
    records = third_image.public_file.records()

    assert [record[0] for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert {record[0]: record[1] for record in records} == PUBLIC_LENGTHS
    assert records[0][2:5].hex() == "310000"
    assert records[1:] == [
        bytes.fromhex("020131"),
        bytes.fromhex("0304") + b"3.00",
        bytes.fromhex("040C") + "上海市人社局".encode("gbk"),
        bytes.fromhex("0504" + "20181220"),
        bytes.fromhex("0604" + "20281219"),
        bytes.fromhex("0709") + b"A12345678",
    ]


def test_ef06_byte_for_byte(third_image: CardImage) -> None:
    assert third_image.holder_file.records() == [
        bytes.fromhex("0812") + b"310101195003074512",
        bytes.fromhex("091E") + "张建国".encode("gbk").ljust(30, b" "),
        bytes.fromhex("0A0131"),
        bytes.fromhex("0B0101"),
        bytes.fromhex("0C03310101"),
        bytes.fromhex("0D0419500307"),
    ]


def test_static_data_are_read_back_and_hold_no_personal_data(legacy_image: CardImage) -> None:
    static_data = legacy_image.public_file.static_data()

    assert parse_static_data(static_data) == legacy_image.public_file
    assert "张建国".encode("gbk") not in static_data
    assert b"310101195003074512" not in static_data


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_arbitrary_static_data_are_the_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedCardData):
        parse_static_data(data)


def test_static_data_with_an_object_missing_doubled_or_moved(legacy_image: CardImage) -> None:
    records = legacy_image.public_file.records()
    for broken in (records[:-1], [*records, records[-1]], records[::-1]):
        with pytest.raises(MalformedCardData, match="01 to 07"):
            parse_static_data(b"".join(broken))


@pytest.mark.parametrize(
    ("tag", "value", "where"),
    [
        (0x01, b"\xab" * 16, "EF05 tag 01"),
        (0x01, b"\x31" * 15, "EF05 tag 01"),
        (0x03, b"3,00", "EF05 tag 03"),
        (0x05, bytes.fromhex("20181320"), "EF05 tag 05"),
        (0x06, bytes.fromhex("FFFFFFFF"), "EF05 tag 06"),
        (0x07, b"a12345678", "EF05 tag 07"),
        (0x07, b"A1234567\xc9", "EF05 tag 07"),
    ],
)
def test_a_wrong_field_of_ef05_is_named(third_image: CardImage, tag: int, value: bytes, where: str) -> None:
    values = {record[0]: record[2:] for record in third_image.public_file.records()} | {tag: value}

    with pytest.raises(MalformedCardData) as caught:
        public_file(values)

    assert caught.value.where == where


def test_an_issuer_in_bcd_is_shown_in_hex(third_image: CardImage) -> None:
    values = {record[0]: record[2:] for record in third_image.public_file.records()}

    assert public_file(values | {0x04: bytes.fromhex("915600000231000000000001")}).issuer == "915600000231000000000001"


def _holder(third_image: CardImage, **changed: bytes) -> dict[int, bytes]:
    values = {record[0]: record[2:] for record in third_image.holder_file.records()}
    return values | {int(name[1:], 16): value for name, value in changed.items()}


def test_empty_and_blank_fields_of_ef06_are_locked_ones(third_image: CardImage) -> None:
    assert holder_name_and_number(dict.fromkeys(HOLDER_LENGTHS, b"")) == (None, None)
    assert holder_name_and_number(_holder(third_image, t08=b" " * 18, t09=bytes(30))) == (None, None)
    assert holder_name_and_number(_holder(third_image)) == ("张建国", "310101195003074512")


@pytest.mark.parametrize("changed", [{"t08": b"31010119500307451x"}, {"t09": b"\xff" * 30}, {"t09": b"\x07" * 30}])
def test_a_wrong_field_of_ef06_is_refused_without_its_value(third_image: CardImage, changed: dict[str, bytes]) -> None:
    with pytest.raises(MalformedCardData) as caught:
        holder_name_and_number(_holder(third_image, **changed))

    assert caught.value.where == f"EF06 tag {next(iter(changed))[1:]}"
    assert "310101" not in str(caught.value)


@settings(deadline=None)
@given(st.text(st.characters(codec="gb18030", categories=["L"]), max_size=15))
def test_names_are_read_back_if_they_fit(name: str) -> None:
    try:
        field = padded_text(name, 30)
    except ValueError:
        assert len(name.encode("gb18030")) > 30
        return
    values = dict.fromkeys(HOLDER_LENGTHS, b"") | {0x09: field}
    assert holder_name_and_number(values)[0] == (name or None)


def test_dates_before_the_year_1000_keep_their_zeros(third_image: CardImage) -> None:
    values = {record[0]: record[2:] for record in third_image.public_file.records()}

    assert public_file(values | {0x05: bytes.fromhex("09990101")}).issued_on == dt.date(999, 1, 1)
    assert tlv.parse_one(third_image.public_file.records()[4], 0x05, "x") == bytes.fromhex("20181220")
