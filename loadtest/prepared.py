"""Cards whose proofs are signed before the run, each for its planned moment: the generator must not be the limit."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from loadtest.parallel import Advance, ignore, in_processes
from terminal_sdk import wire
from terminal_sdk.card.errors import NoBankApplication
from terminal_sdk.clock import epoch_ms
from terminal_sdk.crypto import Sm2PrivateKey
from terminal_sdk.pin import encode_pin_block
from terminal_sdk.signing import card_signed_message, settlement_challenge

WINDOW_S = 270.0
"""How far a proof's time may lie from its use, either way: the service's 300 s (``proof_max_age_s``) less a margin."""
_CHUNK = 500

Signed = Literal["ahead", "anew", "live"]
"""How a proof came about: before the run; at its use, because the one made ahead was too old; at its use, because what
the patient agrees to (a quote) was not known before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardKey:
    """What is needed to stand for a card: its number, its certificate's fingerprint, its key, its bank account.

    ``private_key``: 32 bytes. ``pan`` None: no bank application.
    """

    card_number: str = field(repr=False)
    fingerprint: str
    private_key: bytes = field(repr=False)
    pan: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofOrder:
    """What a proof is to say. ``counter``: must rise with each proof of a card, in the order in which they arrive.

    ``agreed``: ``ceiling:<fen>``, or ``quote:<digest>`` for a proof that can only be signed at its use.
    """

    card: CardKey
    counter: int
    terminal_id: str
    visit_no: str
    total_fen: int
    agreed: str
    signed_at_ms: int


def sign(order: ProofOrder) -> wire.CardProof:
    """The card's SM2 signature over the order; some 0.7 ms of CPU."""
    challenge = settlement_challenge(
        terminal_id=order.terminal_id,
        visit_no=order.visit_no,
        total_fen=order.total_fen,
        agreed=order.agreed,
        signed_at_ms=order.signed_at_ms,
    )
    message = card_signed_message(order.card.card_number, order.counter, challenge)
    signature = _key(order.card.private_key).sign(message)
    return wire.CardProof(counter=order.counter, signed_at_ms=order.signed_at_ms, signature=signature.hex())


async def sign_ahead(
    orders: Sequence[ProofOrder], *, processes: int | None = None, advance: Advance = ignore
) -> list[wire.CardProof]:
    """The proofs of all orders, in their order, made in parallel processes."""
    return await in_processes(_sign_all, orders, chunk=_CHUNK, processes=processes, advance=advance)


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a prepared card gives."""

    ref: wire.CardRef

    def reference(self) -> wire.CardRef:
        """How requests name the card."""
        return self.ref


class PreparedCard:
    """One presence of a card in a reader, for one bill: what ``Terminal.settle`` and ``quote`` take as ``card``.

    ``order`` says what bill the presence is for, ``proof`` is its proof if it was signed ahead. ``signed`` tells after
    ``prove`` how the proof came about. Proving another bill than the order's raises ``ValueError``.
    """

    def __init__(self, order: ProofOrder, proof: wire.CardProof | None = None, *, window_s: float = WINDOW_S) -> None:
        self._order = order
        self._proof = proof
        self._window_ms = window_s * 1_000
        self.signed: Signed | None = None

    def read(self) -> Reading:
        """Name the card; nothing is asked of a reader."""
        card = self._order.card
        return Reading(wire.CardRef(card_number=card.card_number, certificate_fingerprint=card.fingerprint))

    def prove(
        self, *, terminal_id: str, visit_no: str, total_fen: int, agreed: str, now: dt.datetime
    ) -> wire.CardProof:
        """The prepared proof, or one signed now under the same counter, which nobody has seen yet."""
        order = self._order
        if (terminal_id, visit_no, total_fen) != (order.terminal_id, order.visit_no, order.total_fen):
            raise ValueError(f"this presence of the card is for visit {order.visit_no} at {order.terminal_id}")
        now_ms = epoch_ms(now)
        if self._proof is not None and agreed == order.agreed:
            if abs(now_ms - self._proof.signed_at_ms) <= self._window_ms:
                self.signed = "ahead"
                return self._proof
            self.signed = "anew"
        elif self._proof is None:
            self.signed = "live"
        else:
            raise ValueError(f"the proof was prepared for {order.agreed}")
        return sign(
            ProofOrder(
                card=order.card,
                counter=order.counter,
                terminal_id=terminal_id,
                visit_no=visit_no,
                total_fen=total_fen,
                agreed=agreed,
                signed_at_ms=now_ms,
            )
        )

    def pin_block(self, pin: str, pin_key: bytes) -> bytes:
        """The PIN under the session's key; made at its use, two SM4 blocks. Raises ``NoBankApplication``."""
        if self._order.card.pan is None:
            raise NoBankApplication("the card has no bank application")
        return encode_pin_block(pin, self._order.card.pan, pin_key)


def _sign_all(orders: list[ProofOrder]) -> list[wire.CardProof]:
    return [sign(order) for order in orders]


@functools.lru_cache(maxsize=4_096)
def _key(private_key: bytes) -> Sm2PrivateKey:
    """The key with its public point, which costs a multiplication on the curve."""
    return Sm2PrivateKey.from_bytes(private_key)
