"""What a card's proof must show: an SM2 signature over this very bill, or a legacy card's keyed check value."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac

from settlement.cards.model import CardContext
from settlement.clock import epoch_ms
from settlement.errors import ServiceError
from terminal_sdk.card.errors import MalformedCardData
from terminal_sdk.card.layout import parse_static_data
from terminal_sdk.card.legacy import legacy_check_value
from terminal_sdk.crypto import KeyInvalid, SignatureInvalid, Sm2PublicKey, backend
from terminal_sdk.signing import card_signed_message, settlement_challenge
from terminal_sdk.wire import CardProof, LegacyProof, Proof


async def verify_proof(
    context: CardContext,
    proof: Proof,
    *,
    card_number: str,
    terminal_id: str,
    visit_no: str,
    total_fen: int,
    agreed: str,
    now: dt.datetime,
    max_age_s: float,
    legacy_master_key: bytes,
) -> None:
    """Return when the card proved itself for this bill; else raise ``ServiceError``. One SM2 verification at most.

    ``agreed`` is what the card signed (``quote:<digest>`` or ``ceiling:<fen>``). ``max_age_s``: how far the time of the
    signature may lie from ``now``, either way. Judged from cheap to dear: the proof's kind (``CARD_PROOF_INVALID``),
    its time (``CARD_PROOF_STALE``), the counter (``CARD_COUNTER_REPLAYED``; the hold judges it again under the
    person's lock), then the signature or check value (``CARD_PROOF_INVALID``).
    """
    if isinstance(proof, LegacyProof):
        _verify_check_value(context, proof, card_number, legacy_master_key)
        return
    if context.kind != "third_generation" or context.public_key is None:
        raise ServiceError("CARD_PROOF_INVALID")
    if abs(epoch_ms(now) - proof.signed_at_ms) > max_age_s * 1_000:
        raise ServiceError("CARD_PROOF_STALE")
    if proof.counter <= context.last_counter:
        raise ServiceError("CARD_COUNTER_REPLAYED")
    challenge = settlement_challenge(
        terminal_id=terminal_id,
        visit_no=visit_no,
        total_fen=total_fen,
        agreed=agreed,
        signed_at_ms=proof.signed_at_ms,
    )
    message = card_signed_message(card_number, proof.counter, challenge)
    if backend().releases_gil:
        await asyncio.to_thread(_verify_signature, context.public_key, proof, message)
    else:
        _verify_signature(context.public_key, proof, message)


def _verify_signature(public_key: bytes, proof: CardProof, message: bytes) -> None:
    try:
        Sm2PublicKey.from_bytes(public_key).verify(message, bytes.fromhex(proof.signature))
    except (KeyInvalid, SignatureInvalid) as error:
        raise ServiceError("CARD_PROOF_INVALID") from error


def _verify_check_value(context: CardContext, proof: LegacyProof, card_number: str, master_key: bytes) -> None:
    """Static data of this card number, and the check value that only the issuer's key can make over them.

    Both can be copied from a card once read: they say which card it is, not that it is here now.
    """
    if context.kind != "legacy":  # a card with a key must use it
        raise ServiceError("CARD_PROOF_INVALID")
    static_data = bytes.fromhex(proof.static_data)
    try:
        public = parse_static_data(static_data)
    except MalformedCardData as error:
        raise ServiceError("CARD_PROOF_INVALID") from error
    expected = legacy_check_value(master_key, public.card_number, static_data)
    genuine = hmac.compare_digest(expected, bytes.fromhex(proof.check_value))
    if not genuine or public.card_number != card_number:
        raise ServiceError("CARD_PROOF_INVALID")
