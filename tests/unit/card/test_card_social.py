"""The social security application of the virtual third-generation card, APDU by APDU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from terminal_sdk.card import CardImage, CardState, CardStateInvalid, JsonFileState, MemoryState, VirtualCard
from terminal_sdk.card.state import COUNTER_MAX
from terminal_sdk.crypto import SignatureInvalid
from terminal_sdk.signing import card_signed_message

Send = Callable[[VirtualCard, str], str]
SELECT = "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"
CHALLENGE = hashlib.sha256(b"challenge").digest()
SIGN = "0088000020" + CHALLENGE.hex()


def _fci() -> str:
    name = "840F7378312E73682EC9E7BBE1B1A3D5CF"
    proprietary = "A508" + "5003535343" + "870101"
    return "6F1B" + name + proprietary


def _opened(send: Send, card: VirtualCard) -> VirtualCard:
    assert send(card, SELECT + "00")[-4:] in {"9000", "611D"}
    return card


def test_select_on_the_contacts_is_fetched_by_get_response(send: Send, third: VirtualCard) -> None:
    assert send(third, SELECT) == "611D"
    assert send(third, "00C0000000") == "6C1D"
    assert send(third, "00C000001D") == _fci() + "9000"
    assert send(third, "00C000001D") == "6985"


def test_select_in_the_field_answers_at_once(send: Send, contactless: VirtualCard) -> None:
    assert send(contactless, SELECT + "00") == _fci() + "9000"
    assert send(contactless, SELECT + "04") == "611D"
    assert send(contactless, SELECT) == "611D"
    assert send(contactless, "00C0000000") == _fci() + "9000"


def test_get_response_in_parts(send: Send, third: VirtualCard) -> None:
    send(third, SELECT)
    assert send(third, "00C0000010") == _fci()[:32] + "610D"
    assert send(third, "00C000000D") == _fci()[32:] + "9000"


def test_what_waits_is_lost_by_the_next_command(send: Send, third: VirtualCard) -> None:
    send(third, SELECT)
    assert send(third, "00A4000002EF05") == "9000"
    assert send(third, "00C000001D") == "6985"


def test_select_without_file_control_information(send: Send, third: VirtualCard) -> None:
    assert send(third, SELECT.replace("A40400", "A4040C")) == "9000"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("00A404000E7378312E73682EC9E7BBE1B1A3D5", "6A82"),  # a part of the name
        ("00A40400107378312E73682EC9E7BBE1B1A3D5CF01", "6A82"),
        ("00A4040007A0000000031010", "6A82"),
        ("00A40400", "6700"),
        ("00A404020F7378312E73682EC9E7BBE1B1A3D5CF", "6A86"),
        ("00A4090002EF05", "6A86"),
        ("00A4000002EF05", "6A82"),
        ("00B2010400", "6986"),
        ("00B0000000", "6986"),
        (SIGN, "6985"),
        ("0020000003123456", "6985"),
    ],
)
def test_before_any_application_is_selected(send: Send, third: VirtualCard, command: str, status: str) -> None:
    assert send(third, command) == status


def test_a_failed_selection_leaves_the_application_selected(send: Send, third: VirtualCard) -> None:
    _opened(send, third)
    send(third, "0020000003123456")

    assert send(third, "00A4040007A0000000031010") == "6A82"

    assert send(third, "00A4000002EF06") == "9000"
    assert send(third, "00B2080014") == "0812" + b"310101195003074512".hex() + "9000"


def test_read_record_by_number_and_by_identifier(send: Send, third: VirtualCard) -> None:
    _opened(send, third)
    card_number = "0709" + b"A12345678".hex() + "9000"

    assert send(third, "00A4000002EF05") == "9000"
    assert send(third, "00B207040B") == card_number
    assert send(third, "00B207000B") == card_number
    assert send(third, "00B2070000") == "6C0B"
    assert send(third, "00B2070009") == "6C0B"
    assert send(third, "00B2070020") == "6C0B"
    assert send(third, "00B207002C") == "6C0B"
    assert send(third, "00B2080400") == "6A83"
    assert send(third, "00B2000400") == "6A83"
    assert send(third, "00B20704") == "610B"
    assert send(third, "00C000000B") == card_number


def test_records_of_ef06_have_numbers_1_to_6_and_identifiers_08_to_0d(send: Send, third: VirtualCard) -> None:
    _opened(send, third)
    send(third, "0020000003123456")
    send(third, "00A4020002EF06")

    assert send(third, "00B202" + "04" + "20") == send(third, "00B209" + "00" + "20")
    assert send(third, "00B2060406") == send(third, "00B20D0006") == "0D04195003079000"
    assert send(third, "00B2080406") == "6A83"
    assert send(third, "00B2010006") == "6A83"


def test_read_record_in_the_field_says_when_le_is_too_long(send: Send, contactless: VirtualCard) -> None:
    _opened(send, contactless)
    send(contactless, "00A4000002EF05")
    version = "0304" + b"3.00".hex().upper()

    assert send(contactless, "00B2030400") == version + "9000"
    assert send(contactless, "00B2030406") == version + "9000"
    assert send(contactless, "00B2030407") == version + "6282"
    assert send(contactless, "00B2030405") == "6C06"
    assert send(contactless, "00B20304000000") == version + "9000"


def test_a_short_file_identifier_makes_its_file_current(send: Send, third: VirtualCard) -> None:
    _opened(send, third)

    assert send(third, "00B2032C06") == "0304" + b"3.00".hex().upper() + "9000"  # P2: 5 << 3 | 4
    assert send(third, "00B2030406") == "0304" + b"3.00".hex().upper() + "9000"
    assert send(third, "00B203FC06") == "6A82"
    assert send(third, "00B2010400") == "6C12"  # the failed one left EF05 current


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("00B2010500", "6A86"),
        ("00B2010400".replace("B20104", "B20101"), "6A86"),
        ("00B2010401AA", "6700"),
        ("00B0000000", "6981"),
        ("00A4000003EF0500", "6700"),
        ("00A4000002EF99", "6A82"),
        ("00A4000402EF05", "6A86"),
        ("00A4010002EF05", "6A86"),
        ("00D6000001AA", "6982"),
        ("00DC010401AA", "6982"),
        ("0088000020" + "00" * 32 + "00" * 5, "6700"),
        ("0088000010" + "00" * 16, "6700"),
        ("0088010020" + "00" * 32, "6A86"),
        ("00880000", "6700"),
        ("0020010003123456", "6A86"),
        ("0020000103123456", "6A86"),
        ("00200000021234", "6700"),
        ("002000000412345678", "6700"),
        ("0084000100", "6A86"),
        ("00840000", "6700"),
        ("008400000101", "6700"),
        ("00C0010010", "6A86"),
        ("00C00000", "6700"),
        ("00C0000001AA", "6700"),
        ("0070000000", "6D00"),
        ("00A80000028300", "6E00"),
        ("80A80000028300", "6D00"),
        ("0CA40400", "6E00"),
        ("FF00000000", "6E00"),
        ("80B2010400", "6E00"),
        ("00", "6700"),
        ("", "6700"),
        ("00A40400FF00", "6700"),
        ("00B000000000FF", "6700"),  # extended length: T=0 cannot carry it
    ],
)
def test_refusals_have_the_status_word_of_the_standard(
    send: Send, third: VirtualCard, command: str, status: str
) -> None:
    _opened(send, third)
    send(third, "00A4000002EF05")

    assert send(third, command) == status


def test_get_challenge(send: Send, third_image: CardImage) -> None:
    card = VirtualCard(third_image, random=lambda size: bytes(range(size)))

    assert send(card, "0084000008") == "0001020304050607" + "9000"
    assert send(card, "0084000004") == "00010203" + "9000"
    assert send(card, "0084000010") == bytes(range(16)).hex().upper() + "9000"
    assert send(card, "0084000000") == "6C08"
    assert send(card, "0084000005") == "6C08"
    assert send(VirtualCard(third_image), "0084000010") != send(VirtualCard(third_image), "0084000010")


def test_the_certificate_is_read_in_chunks(send: Send, third: VirtualCard, third_image: CardImage) -> None:
    _opened(send, third)
    der = third_image.certificate().der
    size = len(der)
    send(third, "00A4000002EF10")

    read = b""
    while len(read) < size:
        wanted = min(0x80, size - len(read))
        answer = third.transmit(bytes([0x00, 0xB0, *len(read).to_bytes(2, "big"), wanted]))
        assert answer[-2:] == b"\x90\x00"
        read += answer[:-2]

    assert read == der
    assert send(third, f"00B0{size:04X}01") == "6B00"
    assert send(third, "00B07FFF01") == "6B00"
    assert send(third, f"00B0{size - 5:04X}05") == der[-5:].hex().upper() + "9000"
    assert send(third, f"00B0{size - 5:04X}06") == "6C05"
    assert send(third, f"00B0{size - 5:04X}00") == "6C05"
    assert send(third, "00B0000000") == der[:256].hex().upper() + "9000"
    assert send(third, "00B2010400") == "6981"


def test_read_binary_in_the_field_ends_with_a_warning(
    send: Send, contactless: VirtualCard, third_image: CardImage
) -> None:
    _opened(send, contactless)
    der = third_image.certificate().der
    send(contactless, "00A4000002EF10")

    assert send(contactless, f"00B0{len(der) - 5:04X}06") == der[-5:].hex().upper() + "6282"
    assert send(contactless, f"00B0{len(der) - 5:04X}00") == der[-5:].hex().upper() + "9000"
    assert send(contactless, "00B00000000000") == der.hex().upper() + "9000"  # extended length, the whole file
    assert send(contactless, "00B0000000FFFF") == der.hex().upper() + "6282"


def test_read_binary_by_short_file_identifier(send: Send, third: VirtualCard, third_image: CardImage) -> None:
    _opened(send, third)
    der = third_image.certificate().der

    assert send(third, "00B0900204") == der[2:6].hex().upper() + "9000"
    assert send(third, "00B0000402") == der[4:6].hex().upper() + "9000"
    assert send(third, "00B0850004") == "6981"
    assert send(third, "00B09F0004") == "6A82"
    assert send(third, "00B0800004") == "6A86"
    assert send(third, "00B0B00004") == "6A86"


def test_personal_data_are_empty_until_the_pin_is_verified(send: Send, third: VirtualCard) -> None:
    _opened(send, third)
    send(third, "00A4000002EF06")

    assert [send(third, f"00B2{tag:02X}0002") for tag in range(8, 14)] == [f"{tag:02X}009000" for tag in range(8, 14)]
    assert send(third, "00B2080014") == "6C02"

    assert send(third, "0020000003123456") == "9000"
    assert send(third, "00B2080014") == "0812" + b"310101195003074512".hex() + "9000"
    assert send(third, "00B2090020") == "091E" + ("张建国".encode("gbk") + b" " * 24).hex().upper() + "9000"


@pytest.mark.parametrize(
    "leave", [SELECT, "00A4040008A000000333010101", "00A40000023F00", "00A40000", "0020000003000000", "reset"]
)
def test_personal_data_are_locked_again(send: Send, third: VirtualCard, leave: str) -> None:
    _opened(send, third)
    send(third, "0020000003123456")

    if leave == "reset":
        third.reset("contact")
    else:
        send(third, leave)
    if not leave.startswith("0020"):
        _opened(send, third)

    send(third, "00A4000002EF06")
    assert send(third, "00B2080002") == "08009000"


def test_three_wrong_pins_block_the_card_for_good(send: Send, third_image: CardImage, tmp_path: Path) -> None:
    card = VirtualCard(third_image, JsonFileState(tmp_path / "card.state"))
    _opened(send, card)

    assert send(card, "00200000") == "63C3"
    assert send(card, "0020000003111111") == "63C2"
    assert send(card, "002000810322FFFF") == "63C1"

    card = VirtualCard(third_image, JsonFileState(tmp_path / "card.state"))
    _opened(send, card)
    assert send(card, "0020000000") == "63C1"
    assert send(card, "0020000003333333") == "63C0"
    assert send(card, "0020000003123456") == "6983"
    assert send(card, "00200000") == "6983"

    card = VirtualCard(third_image, JsonFileState(tmp_path / "card.state"))
    _opened(send, card)
    assert send(card, "0020000003123456") == "6983"
    assert send(card, SIGN)[-4:] == "6144"  # the insurance part goes on without a PIN


def test_the_right_pin_gives_the_tries_back(send: Send, third: VirtualCard) -> None:
    _opened(send, third)
    send(third, "0020000003111111")
    send(third, "0020000003111111")

    assert send(third, "0020000003123456") == "9000"
    assert send(third, "00200000") == "9000"
    assert third.state == CardState(counter=0, pin_tries=3)


def test_the_signature_covers_number_counter_and_challenge(
    send: Send, third: VirtualCard, third_image: CardImage
) -> None:
    _opened(send, third)
    public_key = third_image.certificate().public_key

    for counter in (1, 2, 3):
        assert send(third, SIGN) == "6144"
        answer = third.transmit(bytes.fromhex("00C0000044"))
        assert answer[-2:] == b"\x90\x00"
        assert answer[:4] == counter.to_bytes(4, "big")
        public_key.verify(card_signed_message("A12345678", counter, CHALLENGE), answer[4:68])
        with pytest.raises(SignatureInvalid):
            public_key.verify(card_signed_message("A12345678", counter + 1, CHALLENGE), answer[4:68])


def test_the_counter_is_durable_before_the_signature_exists(send: Send, third_image: CardImage, tmp_path: Path) -> None:
    path = tmp_path / "card.state"
    card = VirtualCard(third_image, JsonFileState(path))
    _opened(send, card)

    assert send(card, SIGN) == "6144"  # the signature waits inside the card; nobody has it yet
    assert JsonFileState(path).load().counter == 1

    card = VirtualCard(third_image, JsonFileState(path))
    _opened(send, card)
    send(card, SIGN)
    assert card.transmit(bytes.fromhex("00C0000044"))[:4] == bytes.fromhex("00000002")


def test_a_state_that_cannot_be_written_means_no_signature_and_no_pin(
    send: Send, third_image: CardImage, tmp_path: Path
) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    card = VirtualCard(third_image, JsonFileState(folder / "state"))
    _opened(send, card)
    folder.rename(tmp_path / "elsewhere")

    assert send(card, SIGN) == "6581"
    assert send(card, "0020000003123456") == "6581"
    send(card, "00A4000002EF06")
    assert send(card, "00B2080002") == "08009000"
    (folder).write_text("no folder")
    assert send(card, "00200000") == "6581"


def test_a_broken_state_is_refused_at_the_start(third_image: CardImage, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("{")
    with pytest.raises(CardStateInvalid):
        VirtualCard(third_image, JsonFileState(tmp_path / "state"))


def test_a_counter_at_its_end_signs_no_more(send: Send, third_image: CardImage) -> None:
    card = VirtualCard(third_image, MemoryState(CardState(counter=COUNTER_MAX - 1)))
    _opened(send, card)

    assert send(card, SIGN) == "6144"
    assert send(card, SIGN) == "6985"
    assert card.state.counter == COUNTER_MAX
