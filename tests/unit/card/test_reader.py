"""The virtual reader: one card, one connection, and a card that can be torn out at any command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import terminal_sdk.reader
from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.reader import (
    CardReader,
    CardRemoved,
    ConnectionClosed,
    NoCard,
    ReaderBusy,
    ReaderError,
    TracingReader,
    VirtualReader,
    errors,
)
from terminal_sdk.reader.pcsc import interface_of

SELECT = bytes.fromhex("00A404000F7378312E73682EC9E7BBE1B1A3D5CF")
SIGN = bytes.fromhex("0088000020") + bytes(32)


def test_an_empty_reader_has_no_card() -> None:
    with pytest.raises(NoCard):
        VirtualReader().connect()


def test_a_legacy_card_is_not_felt_in_the_field(legacy: VirtualCard) -> None:
    with pytest.raises(NoCard, match="contactless"):
        VirtualReader(legacy, "contactless").connect()


def test_insert_use_and_remove(third: VirtualCard) -> None:
    reader = VirtualReader(name="Counter 3")
    reader.insert(third)
    with pytest.raises(ReaderBusy):
        reader.insert(third)

    connection = reader.connect()

    assert (reader.name, connection.interface) == ("Counter 3", "contact")
    assert connection.atr == third.reset("contact")
    assert connection.transmit(SELECT) == bytes.fromhex("611D")
    reader.remove()
    with pytest.raises(CardRemoved):
        connection.transmit(SELECT)
    with pytest.raises(NoCard):
        reader.connect()


def test_a_connection_ends_with_its_card(third: VirtualCard) -> None:
    reader = VirtualReader(third)
    before = reader.connect()
    reader.remove()
    reader.insert(third)
    after = reader.connect()

    with pytest.raises(CardRemoved):
        before.transmit(SELECT)
    before.disconnect()  # and does not disturb the one that followed
    assert after.transmit(SELECT) == bytes.fromhex("611D")


def test_one_connection_at_a_time(third: VirtualCard) -> None:
    reader = VirtualReader(third)
    connection = reader.connect()

    with pytest.raises(ReaderBusy):
        reader.connect()
    connection.disconnect()
    connection.disconnect()
    with pytest.raises(ConnectionClosed):
        connection.transmit(SELECT)

    assert reader.connect().transmit(SELECT) == bytes.fromhex("611D")


def test_disconnecting_powers_the_card_down(third: VirtualCard, send: Callable[[VirtualCard, str], str]) -> None:
    reader = VirtualReader(third)
    connection = reader.connect()
    connection.transmit(SELECT)
    connection.transmit(bytes.fromhex("0020000003123456"))
    connection.disconnect()

    connection = reader.connect()
    connection.transmit(SELECT)
    connection.transmit(bytes.fromhex("00A4000002EF06"))
    assert connection.transmit(bytes.fromhex("00B2080002")) == bytes.fromhex("08009000")


@pytest.mark.parametrize(("run", "counter"), [(False, 0), (True, 1)])
def test_a_card_torn_out_before_or_after_it_did_the_work(third_image: CardImage, run: bool, counter: int) -> None:
    card = VirtualCard(third_image)
    reader = VirtualReader(card)
    connection = reader.connect()
    reader.tear_out_after(1, last_is_run=run)
    connection.transmit(SELECT)

    with pytest.raises(CardRemoved):
        connection.transmit(SIGN)

    assert card.state.counter == counter
    with pytest.raises(NoCard):
        reader.connect()
    reader.insert(card)
    assert reader.connect().transmit(SELECT) == bytes.fromhex("611D")
    with pytest.raises(ValueError, match="negative"):
        reader.tear_out_after(-1)


def test_every_error_is_a_reader_error() -> None:
    named = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {NoCard, CardRemoved, ReaderBusy, ConnectionClosed} < set(named)
    assert all(issubclass(error, ReaderError) for error in named)
    assert all(error.__name__ in terminal_sdk.reader.__all__ for error in named)


CONTACTLESS = "3B8D80010012156F555353433330059000E4"


@pytest.mark.parametrize(
    ("atr", "interface"),
    [
        ("3B6D00000012156F555353433330059000", "contact"),  # ours, on the contacts
        (CONTACTLESS, "contactless"),
        ("3B8F8001804F0CA000000306030001000000006A", "contactless"),  # a memory card, as readers wrap it
        ("3B80800101", "contactless"),  # no historical bytes at all
        (CONTACTLESS[:-2] + "E5", "contact"),  # TCK is wrong
        (CONTACTLESS + "00", "contact"),  # longer than its T0 says
        (CONTACTLESS[:-4] + "74", "contact"),  # shorter
        ("3F8D8001" + CONTACTLESS[8:], "contact"),  # inverse convention
        ("3BFD1300008131FE158073C021C057597562694B657940", "contact"),
        ("3B", "contact"),
        ("", "contact"),
    ],
)
def test_the_interface_is_seen_from_the_atr(atr: str, interface: str) -> None:
    assert interface_of(bytes.fromhex(atr)) == interface


def test_a_trace_tells_everything_but_secrets(third: VirtualCard) -> None:
    lines: list[str] = []
    reader: CardReader = TracingReader(VirtualReader(third, name="R"), lines.append)
    connection = reader.connect()
    for command in ("00A404000F7378312E73682EC9E7BBE1B1A3D5CF", "0020000003123456", "00A4000002EF06", "00B2080014"):
        connection.transmit(bytes.fromhex(command))
    connection.disconnect()

    assert (reader.name, connection.interface) == ("R", "contact")
    assert lines == [
        f"ATR {connection.atr.hex().upper()}",
        "> 00A404000F7378312E73682EC9E7BBE1B1A3D5CF",
        "< 611D",
        "> 0020000003******",
        "< 9000",
        "> 00A4000002EF06",
        "< 9000",
        "> 00B2080014",
        "< [20 bytes] 9000",
    ]


def test_a_revealing_trace_still_hides_the_pin(third: VirtualCard) -> None:
    lines: list[str] = []
    connection = TracingReader(VirtualReader(third), lines.append, reveal=True).connect()
    for command in ("00A404000F7378312E73682EC9E7BBE1B1A3D5CF", "0020000003123456", "00A4000002EF06", "00B2080014", ""):
        connection.transmit(bytes.fromhex(command))

    assert "> 0020000003******" in lines
    assert "< 0812" + b"310101195003074512".hex() + "9000" in lines
    assert lines[-2:] == ["> ", "< 6700"]
