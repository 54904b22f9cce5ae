"""TLV: what is written is read back, and arbitrary bytes give data objects or the one typed error."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from terminal_sdk.card import MalformedCardData, tlv

single = [tag for tag in range(1, 0xFF) if tag & 0x1F != 0x1F]
leading = st.sampled_from(range(0x1F, 0xFF, 0x20))
tags = st.one_of(
    st.sampled_from(single),
    st.builds(lambda first, last: first << 8 | last, leading, st.integers(0, 0x7F)),
    st.builds(
        lambda first, middle, last: first << 16 | middle << 8 | last,
        leading,
        st.integers(0x81, 0xFF),
        st.integers(0, 0x7F),
    ),
)
values = st.one_of(st.binary(max_size=300), st.integers(0, 0xFFFF).map(lambda size: b"\x5a" * size))


@settings(deadline=None)
@given(st.lists(st.tuples(tags, values), max_size=4))
def test_what_is_written_is_read_back(objects: list[tuple[int, bytes]]) -> None:
    written = b"".join(tlv.encode(tag, value) for tag, value in objects)

    parsed = tlv.parse(written, "here")

    assert [(entry.tag, entry.value) for entry in parsed] == objects
    assert b"".join(entry.encode() for entry in parsed) == written


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"\x1f")
@example(b"\x5f\x24")
@example(b"\x01\x82\x01")
@example(b"\x1f\x80")
def test_arbitrary_bytes_are_objects_or_the_typed_error(data: bytes) -> None:
    try:
        parsed = tlv.parse(data, "here")
    except MalformedCardData:
        return
    # Strict parsing leaves one way to write each object, so nothing can hide in the encoding.
    assert b"".join(entry.encode() for entry in parsed) == data


@pytest.mark.parametrize(
    ("data", "tag", "value"),
    [
        ("0703414243", 0x07, b"ABC"),
        ("5F2403281219", 0x5F24, bytes.fromhex("281219")),
        ("BF0C00", 0xBF0C, b""),
        ("DFA14101FF", 0xDFA141, b"\xff"),
        ("048180" + "00" * 128, 0x04, bytes(128)),
        ("04820100" + "00" * 256, 0x04, bytes(256)),
    ],
)
def test_tags_and_lengths_of_one_to_three_bytes(data: str, tag: int, value: bytes) -> None:
    assert tlv.parse(bytes.fromhex(data), "here") == [tlv.Tlv(tag, value)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("0705414243", "2 bytes past the end"),
        ("07", "length at byte 1 is missing"),
        ("078101", "longer than it need be"),
        ("07820080" + "00" * 128, "longer than it need be"),
        ("0780414200", "the form 80"),
        ("0783000001AA", "the form 83"),
        ("0782AA", "cut off"),
        ("5F", "cut off"),
        ("5F80A401AA", "leading zero"),
        ("5FA4A4A401AA", "longer than 3 bytes"),
        ("0000", "begins no tag"),
        ("FF0100", "begins no tag"),
        ("070141" + "00", "begins no tag"),
    ],
)
def test_what_is_refused_and_why(data: str, problem: str) -> None:
    with pytest.raises(MalformedCardData, match=problem) as caught:
        tlv.parse(bytes.fromhex(data), "EF05 tag 07")

    assert caught.value.where == "EF05 tag 07"


def test_exactly_one_object_of_the_right_tag() -> None:
    assert tlv.parse_one(bytes.fromhex("070141"), 0x07, "here") == b"A"
    with pytest.raises(MalformedCardData, match="tag 08 instead of 07"):
        tlv.parse_one(bytes.fromhex("080141"), 0x07, "here")
    with pytest.raises(MalformedCardData, match="2 data objects"):
        tlv.parse_one(bytes.fromhex("07014107" + "0141"), 0x07, "here")
    with pytest.raises(MalformedCardData, match="0 data objects"):
        tlv.parse_one(b"", 0x07, "here")


def test_a_tag_is_found_once_or_not_at_all() -> None:
    objects = tlv.parse(bytes.fromhex("5A01114F0122" + "5A0133"), "here")

    assert tlv.find(objects, 0x4F, "here") == b"\x22"
    with pytest.raises(MalformedCardData, match="5A is there more than once"):
        tlv.find(objects, 0x5A, "here")
    with pytest.raises(MalformedCardData, match="57 is missing"):
        tlv.find(objects, 0x57, "here")


@pytest.mark.parametrize("tag", [0, -1, 0xFF, 0x5F, 0x0724, 0x5F80, 0x5FA4, 0x5FA4A4A4])
def test_what_is_no_tag_is_not_written(tag: int) -> None:
    with pytest.raises(ValueError, match="tag"):
        tlv.encode(tag, b"")


def test_a_value_too_long_is_not_written() -> None:
    assert len(tlv.encode(0x04, bytes(0xFFFF))) == 4 + 0xFFFF
    with pytest.raises(ValueError, match="65536"):
        tlv.encode(0x04, bytes(0x10000))


def test_constructed_is_told_by_the_first_byte() -> None:
    assert tlv.Tlv(0x6F, b"").constructed
    assert tlv.Tlv(0xBF0C, b"").constructed
    assert not tlv.Tlv(0x5F24, b"").constructed
    assert "41" not in repr(tlv.Tlv(0x09, b"A"))
