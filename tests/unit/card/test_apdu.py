"""Commands and responses: the four cases, short and extended, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.card.apdu import ApduInvalid, Command, Response

octets = st.integers(0, 255)


@pytest.mark.parametrize(
    ("raw", "command"),
    [
        ("00A40000", Command(0, 0xA4, 0, 0)),
        ("00B2070000", Command(0, 0xB2, 7, 0, le=256)),
        ("00B207000B", Command(0, 0xB2, 7, 0, le=11)),
        ("00A4000002EF05", Command(0, 0xA4, 0, 0, bytes.fromhex("EF05"))),
        ("80A8000002830000", Command(0x80, 0xA8, 0, 0, bytes.fromhex("8300"), le=256)),
        ("00B0000000" + "0000", Command(0, 0xB0, 0, 0, le=65536)),
        ("00B0000000" + "0200", Command(0, 0xB0, 0, 0, le=512)),
        ("00880000" + "000002" + "AABB", Command(0, 0x88, 0, 0, b"\xaa\xbb")),
        ("00880000" + "000002" + "AABB" + "0000", Command(0, 0x88, 0, 0, b"\xaa\xbb", le=65536)),
    ],
)
def test_the_cases_of_iso_7816_4(raw: str, command: Command) -> None:
    assert Command.parse(bytes.fromhex(raw)) == command


@pytest.mark.parametrize(
    "raw", ["", "00A404", "00A4040002EF", "00A40400" + "01" + "AABBCC", "00A404000001", "00A40400" + "000005AABB"]
)
def test_lengths_that_do_not_fit_are_no_command(raw: str) -> None:
    with pytest.raises(ApduInvalid):
        Command.parse(bytes.fromhex(raw))


@settings(deadline=None)
@given(octets, octets, octets, octets, st.binary(max_size=400), st.none() | st.integers(1, 65536))
def test_what_is_written_is_read_back(cla: int, ins: int, p1: int, p2: int, data: bytes, le: int | None) -> None:
    command = Command(cla, ins, p1, p2, data, le)

    assert Command.parse(command.encode()) == command


def test_more_than_an_extended_command_carries() -> None:
    with pytest.raises(ApduInvalid):
        Command(0, 0xA4, 0, 0, bytes(65536)).encode()
    with pytest.raises(ApduInvalid):
        Command(0, 0xA4, 0, 0, le=65537).encode()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_command_or_the_typed_error(raw: bytes) -> None:
    try:
        command = Command.parse(raw)
    except ApduInvalid:
        return
    assert raw[:4] == bytes([command.cla, command.ins, command.p1, command.p2])


def test_a_response_ends_in_a_status_word() -> None:
    assert Response.parse(bytes.fromhex("AABB9000")) == Response(0x9000, b"\xaa\xbb")
    assert Response.parse(bytes.fromhex("6A82")).encode() == bytes.fromhex("6A82")
    for broken in ("", "90", "AABB", "0000", "7000"):
        with pytest.raises(ApduInvalid):
            Response.parse(bytes.fromhex(broken))


def test_data_stay_out_of_repr() -> None:
    assert "123456" not in repr(Command(0, 0x20, 0, 0, bytes.fromhex("123456")))
    assert "ABCDEF" not in repr(Response(0x9000, b"ABCDEF"))
