"""Cards that break off, lie, or are others: each is its own typed error, and the reader is given back every time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.card import (
    CardError,
    CardImage,
    CardSession,
    CertificateUnreadable,
    MalformedCardData,
    NoBankApplication,
    NotASocialSecurityCard,
    PinBlocked,
    UnexpectedStatus,
    UnknownAtr,
    VirtualCard,
    read_card,
)
from terminal_sdk.card.apdu import Response
from terminal_sdk.card.channel import MAX_ROUNDS
from terminal_sdk.reader import CardRemoved, Interface, NoCard, ReaderError, VirtualReader

SOCIAL = "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"
BANK = "00A4040008A000000333010101"


class FaultyChip:
    """A chip with defects: some commands (by the beginning of their hex) get another answer, or the ATR is another."""

    def __init__(self, card: VirtualCard, answers: Mapping[str, str], atr: bytes | None = None) -> None:
        self._card = card
        self._answers = answers
        self._atr = atr
        self.seen: list[str] = []

    def reset(self, interface: Interface) -> bytes | None:
        return self._atr or self._card.reset(interface)

    def transmit(self, command: bytes) -> bytes:
        text = command.hex().upper()
        self.seen.append(text)
        genuine = self._card.transmit(command)
        answer = next((answer for begin, answer in self._answers.items() if text.startswith(begin)), None)
        return genuine if answer is None else bytes.fromhex(answer)


def _faulty(third: VirtualCard, **answers: str) -> VirtualReader:
    return VirtualReader(FaultyChip(third, {begin.removeprefix("_"): answer for begin, answer in answers.items()}))


def _count_commands(card: VirtualCard, interface: Interface) -> int:
    chip = FaultyChip(card, {})
    read_card(VirtualReader(chip, interface))
    return len(chip.seen)


@pytest.mark.parametrize("interface", ["contact", "contactless"])
def test_a_card_torn_out_at_any_command(third: VirtualCard, interface: Interface) -> None:
    commands = _count_commands(third, interface)
    assert commands > 20
    reader = VirtualReader(third, interface)
    for count in range(commands):
        reader.tear_out_after(count)
        with pytest.raises(CardRemoved):
            read_card(reader)
        with pytest.raises(NoCard):
            read_card(reader)
        reader.insert(third)

    assert read_card(reader).bank is not None


def test_a_card_torn_out_while_it_signs_never_signs_that_counter_again(third: VirtualCard) -> None:
    bill: dict[str, Any] = {"terminal_id": "T0000001", "visit_no": "V1", "total_fen": 1, "agreed": "ceiling:0"}
    now = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
    reader = VirtualReader(third)
    with CardSession(reader) as session:
        reader.tear_out_after(0, last_is_run=True)
        with pytest.raises(CardRemoved):
            session.prove(**bill, now=now)
    reader.insert(third)

    with CardSession(reader) as session:
        proof = session.prove(**bill, now=now)

    assert getattr(proof, "counter", None) == 2


def test_no_card() -> None:
    with pytest.raises(NoCard):
        read_card(VirtualReader())


def test_an_unknown_atr_sends_no_command(third: VirtualCard) -> None:
    chip = FaultyChip(third, {}, atr=bytes.fromhex("3B6800000073C84013009000"))

    with pytest.raises(UnknownAtr) as caught:
        read_card(VirtualReader(chip))

    assert caught.value.atr.hex().upper() == "3B6800000073C84013009000"
    assert chip.seen == []


@pytest.mark.parametrize("status", ["6A82", "6A81"])
def test_another_kind_of_card(third: VirtualCard, status: str) -> None:
    reader = _faulty(third, **{f"_{SOCIAL}": status})

    with pytest.raises(NotASocialSecurityCard):
        read_card(reader)
    with pytest.raises(NotASocialSecurityCard):  # and not ReaderBusy: the first attempt let go
        read_card(reader)


@pytest.mark.parametrize(
    ("begin", "answer", "where"),
    [
        ("_00B20700", "0709" + "4131" + "9000", "EF05 tag 07"),
        ("_00B20700", "9000", "EF05 tag 07"),
        ("_00B20700", "0809" + "41" * 9 + "9000", "EF05 tag 07"),
        ("_00B20700", "0708" + "41" * 8 + "9000", "EF05 tag 07"),
        ("_00B20700", "0780" + "41" * 9 + "9000", "EF05 tag 07"),
        ("_00B20300", "0304" + "342E3030" + "9000", "EF05 tag 03"),
        ("_00B20500", "0504" + "20181399" + "9000", "EF05 tag 05"),
        ("_00B20800", "0812" + "41" * 18 + "9000", "EF06 tag 08"),
        ("_00B20900", "091E" + "FF" * 30 + "9000", "EF06 tag 09"),
        ("_00B20900", "0902" + "4141" + "9000", "EF06 tag 09"),
        ("_00B20100", "", "response"),
        ("_00B20100", "0142", "response"),
        ("_00B20100", "6100", "response"),
        ("_00B2010012", "6C12", "response"),
    ],
)
def test_malformed_data_are_named_by_their_place(third: VirtualCard, begin: str, answer: str, where: str) -> None:
    answers = {begin: answer} | ({"_00C0": "6101"} if answer == "6100" else {})

    with pytest.raises(MalformedCardData) as caught:
        read_card(_faulty(third, **answers))

    assert caught.value.where == where


def test_a_card_that_never_ends_is_left(third: VirtualCard) -> None:
    chip = FaultyChip(third, {"00A4040": "6110", "00C0": "AA" * 16 + "6110"})

    with pytest.raises(MalformedCardData, match="never comes to an end"):
        read_card(VirtualReader(chip))

    assert len(chip.seen) == MAX_ROUNDS + 1


@pytest.mark.parametrize(
    ("begin", "doing"),
    [
        (SOCIAL, "SELECT of the social security application"),
        ("00A4000002EF05", "SELECT of EF EF05"),
        ("00B20100", "READ RECORD of EF05 tag 01"),
        ("00A4000002EF06", "SELECT of EF EF06"),
        ("00A4000002EF10", "SELECT of EF EF10"),
        ("00B00000", "READ BINARY of EF10"),
    ],
)
def test_an_unexpected_status_word_is_told_with_its_command(third: VirtualCard, begin: str, doing: str) -> None:
    with pytest.raises(UnexpectedStatus) as caught:
        read_card(_faulty(third, **{f"_{begin}": "6F00"}))

    assert (caught.value.doing, caught.value.status) == (doing, 0x6F00)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"00B00000": "6B00"}, "does not begin like a certificate"),
        ({"00B00000": "00000000" + "9000"}, "does not begin like a certificate"),
        ({"00B00000": "308180AA" + "9000"}, "does not begin like a certificate"),
        ({"00B00000": "30820F00" + "9000"}, "ends after"),
        ({"00B00000": "3082FFFF" + "9000"}, "claims more than 4096 bytes"),
        ({"00B00000": "30820100" + "9000", "00B0": "00" * 240 + "9000"}, "more bytes than were asked for"),
    ],
)
def test_a_certificate_that_cannot_be_parsed(third: VirtualCard, answers: dict[str, str], problem: str) -> None:
    with pytest.raises(MalformedCardData, match=problem) as caught:
        read_card(VirtualReader(FaultyChip(third, answers)))

    assert caught.value.where == "EF10"


def test_garbage_of_the_right_length_is_a_certificate_error(third: VirtualCard) -> None:
    answers = {"00B0000004": "308200EC" + "9000", "00B00004": "5A" * 236 + "9000"}

    with pytest.raises(CertificateUnreadable, match="is not a certificate"):
        read_card(VirtualReader(FaultyChip(third, answers)))


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({BANK: "6A82"}, type(None)),
        ({BANK: "6283"}, UnexpectedStatus),
        ({"80A8": "6985"}, UnexpectedStatus),
        ({"80A8": "80059000"}, MalformedCardData),
        ({"00B2010C": "70029000"}, MalformedCardData),
    ],
)
def test_a_bank_application_that_fails_never_stops_the_insurance_part(
    third: VirtualCard, answers: dict[str, str], problem: type[CardError]
) -> None:
    with CardSession(VirtualReader(FaultyChip(third, answers))) as session:
        card = session.read()
        with pytest.raises(NoBankApplication):
            session.pin_block("123456", bytes(16))

    assert card.bank is None
    assert isinstance(card.bank_problem, problem)
    assert card.certificate is not None


def test_a_directory_without_our_application_means_no_bank(third: VirtualCard) -> None:
    ppse = "6F20840E325041592E5359532E4444463031" + "A50E" + "BF0C0B" + "61094F07A0000000031010"
    chip = FaultyChip(third, {"00A404000E": ppse + "9000"})

    assert read_card(VirtualReader(chip, "contactless")).bank is None
    assert not [command for command in chip.seen if command.startswith(BANK)]


def test_a_card_that_reads_records_by_number_only(third: VirtualCard) -> None:
    answers = {f"00B2{tag:02X}00": "6A86" for tag in range(1, 14)}

    with CardSession(VirtualReader(FaultyChip(third, answers))) as session:
        session.verify_pin("123456")
        assert session.read().name == "张建国"


def test_a_card_that_refuses_locked_records_instead_of_emptying_them(third: VirtualCard) -> None:
    answers = {f"00B2{tag:02X}00": "6982" for tag in range(8, 14)}

    assert read_card(VirtualReader(FaultyChip(third, answers))).name is None
    with pytest.raises(UnexpectedStatus):
        read_card(_faulty(third, _00B20700="6982"))


@pytest.mark.parametrize(
    ("begin", "answer", "error"),
    [("00200000", "6983", PinBlocked), ("00200000", "6581", UnexpectedStatus), ("00200000", "6984", UnexpectedStatus)],
)
def test_other_answers_to_a_pin(third: VirtualCard, begin: str, answer: str, error: type[CardError]) -> None:
    with CardSession(VirtualReader(FaultyChip(third, {begin: answer}))) as session, pytest.raises(error):
        session.verify_pin("123456")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("00000001" + "AA" * 63 + "9000", MalformedCardData),
        ("00000000" + "AA" * 64 + "9000", MalformedCardData),
        ("9000", MalformedCardData),
        ("6D00", UnexpectedStatus),
    ],
)
def test_other_answers_to_a_challenge(third: VirtualCard, answer: str, error: type[CardError]) -> None:
    chip = FaultyChip(third, {"0088": answer})
    with CardSession(VirtualReader(chip)) as session, pytest.raises(error):
        session.prove(
            terminal_id="T0000001",
            visit_no="V1",
            total_fen=1,
            agreed="ceiling:0",
            now=dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
        )


def test_a_legacy_check_value_of_another_length(legacy: VirtualCard) -> None:
    with pytest.raises(MalformedCardData, match="7 bytes instead of 8"):
        read_card(_faulty(legacy, _00B00000="AA" * 7 + "9000"))


def test_a_version_is_what_decides_the_kind(third_image: CardImage, legacy: VirtualCard) -> None:
    assert read_card(_faulty(legacy, _00B20300="0304" + b"1.00".hex() + "9000")).kind == "legacy"
    assert msgspec.structs.asdict(third_image)["version"] == "3.00"


class HostileChip:
    """A chip under a hostile hand: a genuine card whose answers are replaced or cut at will."""

    def __init__(self, card: VirtualCard, bend: Callable[[bytes], bytes]) -> None:
        self._card = card
        self._bend = bend

    def reset(self, interface: Interface) -> bytes | None:
        return self._card.reset(interface)

    def transmit(self, command: bytes) -> bytes:
        return self._bend(self._card.transmit(command))


bends = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda data: data + b"\x90\x00"),
    st.sampled_from([b"\x61\x00", b"\x6c\x01", b"\x62\x82", b"\x6a\x82", Response(0x9000, bytes(400)).encode()]),
)


@settings(deadline=None)
@given(
    sequence=st.lists(bends, max_size=40),
    flip=st.none() | st.integers(0, 400),
    interface=st.sampled_from(["contact", "contactless"]),
)
def test_whatever_a_card_answers_the_terminal_reads_or_gives_a_typed_error(
    third_image: CardImage, sequence: list[bytes | None], flip: int | None, interface: Interface
) -> None:
    answers = iter(sequence)

    def bend(genuine: bytes) -> bytes:
        instead = next(answers, None)
        if instead is not None:
            return instead
        if flip is not None and flip < len(genuine) - 2:
            return genuine[:flip] + bytes([genuine[flip] ^ 0xFF]) + genuine[flip + 1 :]
        return genuine

    reader = VirtualReader(HostileChip(VirtualCard(third_image), bend), interface)
    try:
        with CardSession(reader) as session:
            session.verify_pin("123456")
            session.read()
    except (CardError, ReaderError):
        pass
    reader.connect()  # whatever happened, the reader was given back
