"""Cards and terminals whose keys work in JavaScript, at the running service; and a card of ours, verified there."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

import pytest

from settlement.cards.issuing import made_up_card_number, made_up_pan
from terminal_sdk import Refused, Settled, SignInRefused, wire
from terminal_sdk.card import CardImage, VirtualCard
from terminal_sdk.crypto import Certificate, CertificateAuthority, SigningRequest
from terminal_sdk.pin import encode_pin_block
from tests.interop.node import Node, NodeKey
from tests.interop.tills import enrolled, pay, register_card, till
from tests.support.service import RunningService, present

NOW = dt.datetime(2026, 11, 24, 3, 0, 0, 123_000, tzinfo=dt.UTC)
NOW_MS = 1_795_489_200_123


def agreement(terminal_id: str, visit_no: str, total_fen: int, agreed: str, signed_at_ms: int) -> str:
    """What a card agrees to, put together from docs/reference/card.md and not by the kit; hex."""
    text = f"settlement-proof-1\n{terminal_id}\n{visit_no}\n{total_fen}\n{agreed}\n{signed_at_ms}"
    return text.encode("utf-8").hex()


def signed_message(card_number: str, counter: int, challenge: str) -> str:
    """What a card signs, from the same page; hex."""
    return (b"SXCARD1" + card_number.encode("ascii") + counter.to_bytes(4, "big")).hex() + challenge


@pytest.mark.parametrize("altered", ["nothing", "message", "signature", "key"])
def test_the_proof_of_a_card_is_verified_there(node: Node, altered: str) -> None:
    authority = CertificateAuthority.create_root("Card Root", NOW, NOW + dt.timedelta(days=3650))
    image = CardImage.personalise(
        authority,
        card_number="A12345678",
        bank_code="ICBC",
        pan="6222021234567890128",
        issued_on=NOW.date(),
        expires_on=NOW.date() + dt.timedelta(days=3000),
        name="张小明",
        social_security_number="310101196401209713",
    )
    with present(VirtualCard(image)) as card:
        certificate = card.read().certificate
        proof = card.prove(terminal_id="TILL0001", visit_no="V1", total_fen=1_234, agreed="ceiling:1234", now=NOW)
    assert certificate is not None
    assert isinstance(proof, wire.CardProof)
    assert (proof.counter, proof.signed_at_ms) == (1, NOW_MS)

    total_fen = 1_235 if altered == "message" else 1_234
    challenge = node.call("sm3", data=agreement("TILL0001", "V1", total_fen, "ceiling:1234", NOW_MS))
    other_signature = proof.signature[:-2] + f"{int(proof.signature[-2:], 16) ^ 1:02x}"
    accepted = node.call(
        "sm2.verify",
        message=signed_message("A12345678", 1, challenge),
        signature=other_signature if altered == "signature" else proof.signature,
        publicKey=(authority.certificate if altered == "key" else certificate).public_key.to_bytes().hex(),
    )
    assert accepted is (altered == "nothing")


@dataclass(frozen=True, slots=True)
class JavaScriptCardRead:
    """What reading such a card gives."""

    card_number: str
    certificate: Certificate

    def reference(self) -> wire.CardRef:
        """How requests name the card."""
        return wire.CardRef(card_number=self.card_number, certificate_fingerprint=self.certificate.fingerprint)


class JavaScriptCard:
    """A card in the reader that digests and signs by sm-crypto; to the terminal kit it is a ``PresentCard``."""

    def __init__(self, node: Node, key: NodeKey, card_number: str, certificate: Certificate, pan: str) -> None:
        self._node = node
        self._key = key
        self._read = JavaScriptCardRead(card_number, certificate)
        self._pan = pan
        self.counter = 0

    def read(self) -> JavaScriptCardRead:
        """What is on the card."""
        return self._read

    def prove(self, *, terminal_id: str, visit_no: str, total_fen: int, agreed: str, now: dt.datetime) -> wire.Proof:
        """The card's agreement to a bill."""
        signed_at_ms = (now - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
        challenge = self._node.call("sm3", data=agreement(terminal_id, visit_no, total_fen, agreed, signed_at_ms))
        self.counter += 1
        message = signed_message(self._read.card_number, self.counter, challenge)
        signature = self._key.sign(bytes.fromhex(message))
        return wire.CardProof(counter=self.counter, signed_at_ms=signed_at_ms, signature=signature.hex())

    def pin_block(self, pin: str, pin_key: bytes) -> bytes:
        """The bank PIN under the terminal's PIN key."""
        return encode_pin_block(pin, self._pan, pin_key)


async def issue_card(service: RunningService, node: Node, *, signs_with: NodeKey | None = None) -> JavaScriptCard:
    """A registered, active card with 6 yuan of insurance and 100 yuan at the bank; its key is in JavaScript.

    ``signs_with``: another key than the one in its certificate, for a forgery.
    """
    key, number, pan, now = NodeKey(node), made_up_card_number(), made_up_pan(), dt.datetime.now(dt.UTC)
    certificate = service.base.authorities.card.issue(
        number, key.public_key, now - dt.timedelta(days=1), now + dt.timedelta(days=3_650)
    )
    await register_card(service, number, certificate, pan)
    return JavaScriptCard(node, signs_with or key, number, certificate, pan)


async def test_a_bill_with_card_and_terminal_in_javascript(service: RunningService, node: Node) -> None:
    """Certificate request, sign-in (签到), opening the sealed working keys and the card's proof: all by sm-crypto."""
    key = NodeKey(node)
    credentials = await enrolled(service, "TESTJS01", SigningRequest.create(key, "TESTJS01").pem(), key)
    card = await issue_card(service, node)
    async with till(service, credentials) as terminal:
        first = await pay(terminal, card, 1_000)
        second = await pay(terminal, card, 300)
    assert isinstance(first, Settled)
    assert isinstance(second, Settled)
    assert (first.split.current_year_fen, first.split.bank_fen) == (600, 400)
    assert (second.split.current_year_fen, second.split.bank_fen) == (0, 300)
    assert card.counter == 2


async def test_a_forged_card_is_refused(service: RunningService, node: Node) -> None:
    """The same signature by another key in JavaScript: what was settled above was settled for the key's sake."""
    card = await issue_card(service, node, signs_with=NodeKey(node))
    async with service.terminal() as terminal:
        result = await pay(terminal, card, 1_000)
    assert isinstance(result, Refused)
    assert result.code == "CARD_PROOF_INVALID"


async def test_a_sign_in_by_another_key_is_refused(service: RunningService, node: Node) -> None:
    key = NodeKey(node)
    credentials = await enrolled(service, "TESTJS02", SigningRequest.create(key, "TESTJS02").pem(), key)
    forged = dataclasses.replace(credentials, key=NodeKey(node))
    card = await issue_card(service, node)
    async with till(service, forged) as terminal:
        with pytest.raises(SignInRefused, match="SIGNATURE_INVALID"):
            await pay(terminal, card, 1_000)
