"""The virtual legacy card (version 2.00), APDU by APDU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from terminal_sdk.card import CardImage, VirtualCard, legacy_check_value

Send = Callable[[VirtualCard, str], str]
SELECT = "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"


@pytest.fixture
def opened(send: Send, legacy: VirtualCard) -> VirtualCard:
    assert send(legacy, SELECT) == "611D"
    return legacy


def test_personal_data_are_readable_without_a_pin(send: Send, opened: VirtualCard) -> None:
    send(opened, "00A4000002EF06")

    assert send(opened, "00B2080014") == "0812" + b"310101195003074512".hex() + "9000"


def test_the_version_is_2(send: Send, opened: VirtualCard) -> None:
    send(opened, "00A4000002EF05")

    assert send(opened, "00B2030406") == "0304" + b"2.00".hex().upper() + "9000"


def test_the_check_value_stands_over_what_ef05_holds(
    send: Send, opened: VirtualCard, legacy_image: CardImage, master_key: bytes
) -> None:
    static_data = b""
    send(opened, "00A4000002EF05")
    for record in range(1, 8):
        length = int(send(opened, f"00B2{record:02X}0400")[2:], 16)
        static_data += opened.transmit(bytes([0x00, 0xB2, record, 0x04, length]))[:-2]
    send(opened, "00A4000002EF11")

    expected = legacy_check_value(master_key, "B87654321", static_data)

    assert send(opened, "00B0000008") == expected.hex().upper() + "9000"
    assert send(opened, "00B0000000") == "6C08"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("0088000020" + "00" * 32, "6D00"),  # no key
        ("00A4000002EF10", "6A82"),  # no certificate
        ("00A4040008A000000333010101", "6A82"),  # no bank
        ("80A80000028300", "6D00"),
    ],
)
def test_what_a_legacy_card_does_not_have(send: Send, opened: VirtualCard, command: str, status: str) -> None:
    assert send(opened, command) == status


def test_it_has_a_pin_all_the_same(send: Send, opened: VirtualCard) -> None:
    assert send(opened, "0020000003000000") == "63C2"
    assert send(opened, "0020000003123456") == "9000"
