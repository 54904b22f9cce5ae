"""Whatever bytes come, the virtual card gives a well-formed response; and its promises hold through any sequence."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.crypto import CertificateAuthority
from terminal_sdk.reader import Interface

SOCIAL = bytes.fromhex("00A404000F7378312E73682EC9E7BBE1B1A3D5CF")
BANK = bytes.fromhex("00A4040008A000000333010101")
PPSE = b"\x00\xa4\x04\x00\x0e2PAY.SYS.DDF01"
STATUS_CLASSES = (0x6, 0x9)
NAME = "张建国".encode("gbk")
NUMBER = b"310101195003074512"

instructions = st.sampled_from([0x20, 0x84, 0x88, 0xA4, 0xA8, 0xAE, 0xB0, 0xB2, 0xC0, 0xD6, 0xDC]) | st.integers(0, 255)
octets = st.integers(0, 255)
near_commands = st.builds(
    lambda cla, ins, p1, p2, body: bytes([cla, ins, p1, p2]) + body,
    st.sampled_from([0x00, 0x80]) | octets,
    instructions,
    st.sampled_from([0, 1, 2, 4, 8, 9, 0x90]) | octets,
    st.sampled_from([0, 4, 0x0C, 0x2C, 0x34, 0x81]) | octets,
    st.one_of(
        st.just(b""),
        st.binary(max_size=1),
        st.binary(max_size=40).map(lambda data: bytes([len(data)]) + data),
        st.binary(max_size=40).map(lambda data: bytes([len(data)]) + data + b"\x00"),
        st.binary(max_size=40).map(lambda data: b"\x00" + len(data).to_bytes(2, "big") + data + b"\x00\x00"),
        st.sampled_from([0xEF05, 0xEF06, 0xEF10, 0x3F00]).map(lambda file: b"\x02" + file.to_bytes(2, "big")),
        st.binary(max_size=300),
    ),
)
commands = st.one_of(near_commands, st.sampled_from([SOCIAL, BANK, PPSE]), st.binary(max_size=300))


def assert_well_formed(response: bytes) -> None:
    assert isinstance(response, bytes)
    assert len(response) >= 2
    assert response[-2] >> 4 in STATUS_CLASSES


@pytest.mark.parametrize("interface", ["contact", "contactless"])
@settings(deadline=None)
@given(sequence=st.lists(commands, max_size=30))
def test_any_bytes_get_a_status_word(third_image: CardImage, interface: Interface, sequence: list[bytes]) -> None:
    card = VirtualCard(third_image)
    card.reset(interface)
    for command in sequence:
        assert_well_formed(card.transmit(command))


@settings(deadline=None)
@given(sequence=st.lists(commands, max_size=30))
def test_any_bytes_get_a_status_word_from_a_legacy_card(legacy_image: CardImage, sequence: list[bytes]) -> None:
    card = VirtualCard(legacy_image)
    card.reset("contact")
    for command in sequence:
        assert_well_formed(card.transmit(command))


def _image() -> CardImage:
    begin = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    authority = CertificateAuthority.create_root("Fuzz CA", begin, begin + dt.timedelta(days=9000))
    return CardImage.personalise(
        authority,
        card_number="A12345678",
        bank_code="ICBC",
        pan="6222020200112233445",
        issued_on=dt.date(2018, 12, 20),
        expires_on=dt.date(2028, 12, 19),
        social_security_number=NUMBER.decode(),
        name=NAME.decode("gbk"),
    )


class CardMachine(RuleBasedStateMachine):
    """A card beside the shortest model of what it promises: tries, counter, and whether personal data are open."""

    image: CardImage

    @initialize(interface=st.sampled_from(["contact", "contactless"]))
    def power_up(self, interface: Interface) -> None:
        self.card = VirtualCard(self.image)
        self.card.reset(interface)
        self.interface = interface
        self.tries = 3
        self.counter = 0
        self.open = False
        self.at_social = False

    def send(self, command: bytes) -> bytes:
        response = self.card.transmit(command)
        assert_well_formed(response)
        return response

    @rule()
    def reset(self) -> None:
        self.card.reset(self.interface)
        self.open = self.at_social = False

    @rule()
    def select_social(self) -> None:
        self.send(SOCIAL)
        self.open, self.at_social = False, True

    @rule()
    def select_bank(self) -> None:
        self.send(BANK)
        self.open = self.at_social = False

    @rule(right=st.booleans())
    @precondition(lambda self: self.at_social)
    def verify(self, right: bool) -> None:
        status = self.send(bytes.fromhex("0020000003" + ("123456" if right else "654321")))
        if self.tries == 0:
            assert status == bytes.fromhex("6983")
        elif right:
            assert status == bytes.fromhex("9000")
            self.tries = 3
        else:
            self.tries -= 1
            assert status == bytes([0x63, 0xC0 | self.tries])
        self.open = right and status == bytes.fromhex("9000")

    @rule(challenge=st.binary(min_size=32, max_size=32))
    @precondition(lambda self: self.at_social)
    def sign(self, challenge: bytes) -> None:
        assert self.send(bytes.fromhex("0088000020") + challenge) == bytes.fromhex("6144")
        proof = self.send(bytes.fromhex("00C0000044"))
        assert int.from_bytes(proof[:4], "big") == self.counter + 1
        self.counter += 1

    @rule()
    @precondition(lambda self: self.at_social)
    def read_number(self) -> None:
        self.send(bytes.fromhex("00A4000002EF06"))
        response = self.send(bytes.fromhex("00B20800" + ("14" if self.open else "02")))
        assert response == (b"\x08\x12" + NUMBER if self.open else b"\x08\x00") + b"\x90\x00"

    @rule(command=near_commands.filter(lambda command: command[1] not in (0x20, 0x88, 0xA4)))
    def noise(self, command: bytes) -> None:
        response = self.send(command)
        if not self.open:
            assert NAME not in response
            assert NUMBER not in response

    @invariant()
    def state_is_the_models(self) -> None:
        if hasattr(self, "card"):
            assert (self.card.state.counter, self.card.state.pin_tries) == (self.counter, self.tries)


def test_promises_hold_through_any_sequence() -> None:
    CardMachine.image = _image()
    machine = CardMachine.TestCase
    machine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    machine().runTest()
