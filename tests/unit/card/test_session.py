"""Reading and proving by APDUs over a reader: what a terminal gets from each kind of card on each interface."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from terminal_sdk import wire
from terminal_sdk.card import (
    BankApplication,
    CardImage,
    CardSession,
    CardState,
    MemoryState,
    NoBankApplication,
    PinBlocked,
    PinInvalid,
    PinWrong,
    ProofRefused,
    VirtualCard,
    legacy_check_value,
    parse_static_data,
    read_card,
)
from terminal_sdk.card.state import COUNTER_MAX
from terminal_sdk.pin import PinBlockInvalid, decode_pin_block
from terminal_sdk.reader import ConnectionClosed, Interface, TracingReader, VirtualReader
from terminal_sdk.signing import card_signed_message, settlement_challenge

NOW = dt.datetime(2019, 1, 1, 8, 30, 0, 123_999, tzinfo=dt.timezone(dt.timedelta(hours=8)))
BILL: dict[str, Any] = {
    "terminal_id": "T0000001",
    "visit_no": "V20190101-1",
    "total_fen": 12345,
    "agreed": "ceiling:5000",
    "now": NOW,
}
INTERFACES: list[Interface] = ["contact", "contactless"]


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_third_generation_card(third: VirtualCard, third_image: CardImage, interface: Interface) -> None:
    card = read_card(VirtualReader(third, interface))

    assert card.kind == "third_generation"
    assert (card.card_number, card.region, card.version) == ("A12345678", "310000", "3.00")
    assert (card.issuer, card.issued_on, card.expires_on) == (
        "上海市人社局",
        dt.date(2018, 12, 20),
        dt.date(2028, 12, 19),
    )
    assert (card.name, card.social_security_number) == (None, None)
    assert card.certificate is not None
    assert card.certificate.der == third_image.certificate().der
    assert card.bank == BankApplication(pan="6222020200112233445", label="ICBC DEBIT", expiry=dt.date(2028, 12, 19))
    assert (card.bank_problem, card.static_data, card.check_value) == (None, None, None)
    assert card.reference() == wire.CardRef(
        card_number="A12345678", certificate_fingerprint=card.certificate.fingerprint
    )


def test_a_legacy_card(legacy: VirtualCard, master_key: bytes) -> None:
    card = read_card(VirtualReader(legacy))

    assert (card.kind, card.version) == ("legacy", "2.00")
    assert (card.name, card.social_security_number) == ("张建国", "310101195003074512")
    assert (card.certificate, card.bank) == (None, None)
    assert card.static_data is not None
    assert card.check_value == legacy_check_value(master_key, "B87654321", card.static_data)
    assert card.reference() == wire.CardRef(card_number="B87654321")


def test_repr_shows_no_personal_data(legacy: VirtualCard, third: VirtualCard) -> None:
    shown = repr(read_card(VirtualReader(legacy))) + repr(read_card(VirtualReader(third)))

    for secret in ("张建国", "310101195003074512", "B87654321", "A12345678", "62220202"):
        assert secret not in shown


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_pin_unlocks_name_and_number(third: VirtualCard, interface: Interface) -> None:
    with CardSession(VirtualReader(third, interface)) as session:
        assert session.read().name is None
        session.verify_pin("123456")
        for _ in range(2):
            card = session.read()
            assert (card.name, card.social_security_number) == ("张建国", "310101195003074512")
            assert card.bank is not None

    assert read_card(VirtualReader(third, interface)).name is None


def test_wrong_pins_count_down_and_block(third: VirtualCard) -> None:
    reader = VirtualReader(third)
    for left in (2, 1, 0):
        with CardSession(reader) as session, pytest.raises(PinWrong) as caught:
            session.verify_pin("000000")
        assert caught.value.tries_left == left
    with CardSession(reader) as session:
        with pytest.raises(PinBlocked):
            session.verify_pin("123456")
        assert session.read().card_number == "A12345678"
        assert isinstance(session.prove(**BILL), wire.CardProof)


@pytest.mark.parametrize("pin", ["", "12345", "1234567", "12345a", "１２３４５６", "123456\n"])
def test_a_pin_of_another_form_costs_no_try(third: VirtualCard, pin: str) -> None:
    with CardSession(VirtualReader(third)) as session, pytest.raises(PinInvalid):
        session.verify_pin(pin)

    assert third.state.pin_tries == 3


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_proof_is_the_cards_signature_over_the_bill(
    third: VirtualCard, third_image: CardImage, interface: Interface
) -> None:
    with CardSession(VirtualReader(third, interface)) as session:
        session.read()
        first, second = session.prove(**BILL), session.prove(**BILL)

    assert isinstance(first, wire.CardProof)
    assert isinstance(second, wire.CardProof)
    assert (first.counter, second.counter) == (1, 2)
    assert first.signed_at_ms == 1_546_302_600_123
    bill = {name: value for name, value in BILL.items() if name != "now"}
    challenge = settlement_challenge(signed_at_ms=first.signed_at_ms, **bill)
    message = card_signed_message("A12345678", 1, challenge)
    third_image.certificate().public_key.verify(message, bytes.fromhex(first.signature))
    # What the wire carries must pass the wire's own rules.
    assert wire.encode(first).startswith(b'{"kind":"sm2"')


def test_a_legacy_proof_is_static_data_and_check_value(legacy: VirtualCard, master_key: bytes) -> None:
    with CardSession(VirtualReader(legacy)) as session:
        proof = session.prove(**BILL)

    assert isinstance(proof, wire.LegacyProof)
    static_data = bytes.fromhex(proof.static_data)
    assert parse_static_data(static_data).card_number == "B87654321"
    assert proof.check_value == legacy_check_value(master_key, "B87654321", static_data).hex()


def test_a_naive_time_is_refused_and_costs_no_counter(third: VirtualCard) -> None:
    with CardSession(VirtualReader(third)) as session, pytest.raises(ValueError, match="aware"):
        session.prove(**(BILL | {"now": dt.datetime(2019, 1, 1)}))  # noqa: DTZ001 - the point of the test

    assert third.state.counter == 0


def test_a_card_whose_counter_is_used_up_refuses(third_image: CardImage) -> None:
    card = VirtualCard(third_image, MemoryState(CardState(counter=COUNTER_MAX)))

    with CardSession(VirtualReader(card)) as session, pytest.raises(ProofRefused) as caught:
        session.prove(**BILL)

    assert caught.value.status == 0x6985


def test_a_pin_block_is_bound_to_the_account_of_the_card(third: VirtualCard) -> None:
    with CardSession(VirtualReader(third)) as session:
        block = session.pin_block("654321", bytes(16))
        with pytest.raises(PinBlockInvalid):
            session.pin_block("65", bytes(16))
        assert isinstance(session.prove(**BILL), wire.CardProof)

    assert decode_pin_block(block, "6222020200112233445", bytes(16)) == "654321"


def test_a_legacy_card_never_reaches_a_bank(legacy: VirtualCard) -> None:
    lines: list[str] = []
    with CardSession(TracingReader(VirtualReader(legacy), lines.append)) as session:
        session.read()
        with pytest.raises(NoBankApplication):
            session.pin_block("123456", bytes(16))

    assert not [line for line in lines if "A000000333010101" in line]


def test_a_session_can_be_used_only_while_it_is_open(third: VirtualCard) -> None:
    reader = VirtualReader(third)
    session = CardSession(reader)
    for use in (lambda: session.kind, lambda: session.card_number, session.read):
        with pytest.raises(ConnectionClosed):
            use()
    with session:
        assert (session.kind, session.card_number) == ("third_generation", "A12345678")
    with pytest.raises(ConnectionClosed):
        session.read()
    with pytest.raises(ConnectionClosed):
        session.verify_pin("123456")

    with CardSession(reader) as again:  # the reader was given back
        assert again.read().kind == "third_generation"


def test_a_session_entered_again_forgets_the_card_before(third: VirtualCard, legacy: VirtualCard) -> None:
    reader = VirtualReader(third)
    session = CardSession(reader)
    with session:
        assert session.read().bank is not None
    reader.remove()
    reader.insert(legacy)

    with session:
        card = session.read()
        with pytest.raises(NoBankApplication):
            session.pin_block("123456", bytes(16))

    assert (card.kind, card.bank, card.name) == ("legacy", None, "张建国")
