"""Prepared cards: what is signed ahead, when a proof is made anew, and that the service's own check takes them."""

from __future__ import annotations

import datetime as dt

import pytest

from loadtest.parallel import in_processes
from loadtest.population import person
from loadtest.prepared import CardKey, PreparedCard, ProofOrder, sign, sign_ahead
from settlement.cards.numbers import id_number
from terminal_sdk.card import NoBankApplication
from terminal_sdk.clock import epoch_ms
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.pin import decode_pin_block
from terminal_sdk.signing import card_signed_message, settlement_challenge
from terminal_sdk.wire import CardProof

KEY = Sm2PrivateKey.from_bytes(bytes(31) + b"\x07")
NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
PAN = "6222021234567890128"
CARD = CardKey(card_number="ABC123DEF", fingerprint="ab" * 32, private_key=KEY.to_bytes(), pan=PAN)


def an_order(*, agreed: str = "ceiling:500", counter: int = 3, card: CardKey = CARD) -> ProofOrder:
    return ProofOrder(
        card=card,
        counter=counter,
        terminal_id="LTH00001",
        visit_no="V-1",
        total_fen=1_200,
        agreed=agreed,
        signed_at_ms=epoch_ms(NOW),
    )


def prove(
    card: PreparedCard, *, at: dt.datetime = NOW, visit_no: str = "V-1", agreed: str = "ceiling:500"
) -> CardProof:
    return card.prove(terminal_id="LTH00001", visit_no=visit_no, total_fen=1_200, agreed=agreed, now=at)


def check(proof: CardProof, agreed: str) -> None:
    challenge = settlement_challenge(
        terminal_id="LTH00001", visit_no="V-1", total_fen=1_200, agreed=agreed, signed_at_ms=proof.signed_at_ms
    )
    message = card_signed_message("ABC123DEF", proof.counter, challenge)
    KEY.public_key.verify(message, bytes.fromhex(proof.signature))


@pytest.mark.parametrize("early_s", [-270, 0, 270])
def test_a_proof_signed_ahead_is_handed_out_within_its_window(early_s: int) -> None:
    ahead = sign(an_order())
    card = PreparedCard(an_order(), ahead)
    assert prove(card, at=NOW + dt.timedelta(seconds=early_s)) is ahead
    assert card.signed == "ahead"
    check(ahead, "ceiling:500")


@pytest.mark.parametrize("late_s", [-270.001, 270.001, 4_000])
def test_outside_its_window_it_is_signed_anew_under_the_same_counter(late_s: float) -> None:
    card = PreparedCard(an_order(), sign(an_order()))
    at = NOW + dt.timedelta(seconds=late_s)
    proof = prove(card, at=at)
    assert (card.signed, proof.counter, proof.signed_at_ms) == ("anew", 3, epoch_ms(at))
    check(proof, "ceiling:500")


def test_a_quote_is_signed_live() -> None:
    card = PreparedCard(an_order(agreed="quote:?"))
    proof = prove(card, agreed="quote:abc")
    assert card.signed == "live"
    check(proof, "quote:abc")


def test_another_bill_or_agreement_is_refused() -> None:
    card = PreparedCard(an_order(), sign(an_order()))
    with pytest.raises(ValueError, match="visit V-1"):
        prove(card, visit_no="V-2")
    with pytest.raises(ValueError, match="ceiling:500"):
        prove(card, agreed="ceiling:501")
    assert card.signed is None


def test_the_pin_block_is_made_under_the_sessions_key() -> None:
    block = PreparedCard(an_order()).pin_block("123456", bytes(16))
    assert decode_pin_block(block, PAN, bytes(16)) == "123456"
    without = CardKey(card_number="ABC123DEF", fingerprint="ab" * 32, private_key=KEY.to_bytes())
    with pytest.raises(NoBankApplication):
        PreparedCard(an_order(card=without)).pin_block("123456", bytes(16))


async def test_proofs_made_in_other_processes_come_back_in_order() -> None:
    orders = [an_order(counter=number) for number in range(1, 1_003)]
    seen: list[int] = []
    proofs = await sign_ahead(orders, processes=2, advance=seen.append)
    assert [proof.counter for proof in proofs] == list(range(1, 1_003))
    assert sum(seen) == len(orders)
    check(proofs[0], "ceiling:500")
    check(proofs[-1], "ceiling:500")


async def test_nothing_to_do_is_done() -> None:
    assert await in_processes(sorted, [], chunk=3) == []


def test_persons_are_apart_and_their_numbers_are_right() -> None:
    people = [person(number) for number in range(5_000)]
    assert len({number for _, number in people}) == len(people)
    assert all(id_number(number) == number for _, number in people)
    assert person(4_711) == people[4_711]
