"""Sign-in by itself: sessions that end, clocks that differ, and PIN blocks that follow the session's key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from terminal_sdk import NotYetKnown, Refused, ServiceUnreachable, Settled, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.pin import decode_pin_block
from terminal_sdk.reader import CardRemoved, VirtualReader

PAN = "6222020200112233445"


async def test_a_session_that_ended_is_renewed_and_the_pin_block_with_it(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    async def answer_lost_and_session_ended(_: Any) -> None:
        peer.expire_sessions()

    peer.script.extend([answer_lost_and_session_ended, steps.settlement("settled")])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, pin="271828", **bill)
    assert isinstance(result, Settled)
    assert peer.sign_ins == 2
    first, second = peer.sends
    assert first.session != second.session
    assert first.json["pin_block"] != second.json["pin_block"]
    key = peer.sessions[second.session][1]
    assert decode_pin_block(bytes.fromhex(second.json["pin_block"]), PAN, key) == "271828"
    assert {**first.json, "pin_block": None} == {**second.json, "pin_block": None}


async def test_without_the_card_a_pin_is_not_sent_under_the_wrong_key(
    peer: Any, steps: Any, terminal: Terminal, card_image: CardImage, bill: dict[str, Any]
) -> None:
    """The card is taken out while the till waits, and the session ends: the old PIN block is good for nothing."""
    card = TakenOutCard(card_image)

    async def lose_card_and_session(_: Any) -> None:
        card.taken_out = True
        peer.expire_sessions()

    peer.script.extend([lose_card_and_session, steps.unknown, steps.unknown])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, pin="271828", **bill)
    assert isinstance(result, NotYetKnown)
    assert len(peer.sends) == 1
    assert len(peer.calls("GET /v1/settlements")) == 2


class TakenOutCard(CardSession):
    """A session over a reader that goes to the chip for every PIN block, as one without a memory would."""

    def __init__(self, image: CardImage) -> None:
        super().__init__(VirtualReader(VirtualCard(image)))
        self.taken_out = False
        self.__enter__()

    def pin_block(self, pin: str, pin_key: bytes) -> bytes:
        if self.taken_out:
            raise CardRemoved("the card was taken out")
        return super().pin_block(pin, pin_key)


async def test_many_calls_share_one_new_sign_in(
    peer: Any, steps: Any, terminal: Terminal, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.settlement("settled")
    await terminal.status(idempotency_key="key-00000000")
    peer.expire_sessions()
    await asyncio.gather(*(terminal.status(idempotency_key=f"key-0000000{n}") for n in range(8)))
    assert peer.sign_ins == 2


async def test_the_services_time_is_used(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.clock_ahead_ms = 3_600_000
    peer.script.append(steps.settlement("settled"))
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), Settled)
    (sent,) = peer.sends
    assert abs(sent.time_ms - peer.now_ms()) < 60_000
    assert abs(sent.json["proof"]["signed_at_ms"] - peer.now_ms()) < 60_000
    assert peer.sign_ins == 1


async def test_a_clock_that_jumps_is_followed_once(
    peer: Any, steps: Any, terminal: Terminal, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.settlement("settled")
    await terminal.status(idempotency_key="key-00000000")
    peer.clock_ahead_ms = -600_000
    assert isinstance(await terminal.status(idempotency_key="key-00000000"), Settled)
    assert peer.sign_ins == 2


@pytest.mark.parametrize("code", ["SESSION_EXPIRED", "CLOCK_SKEW", "MAC_INVALID"])
async def test_a_session_that_cannot_be_mended_ends_in_doubt_not_in_a_loop(
    code: str, peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.refuse(401, code, mac="none")
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, NotYetKnown)
    assert result.reason == code
    assert peer.sign_ins == 2
    with pytest.raises(ServiceUnreachable, match=code):
        await terminal.quote(card=card, **bill)


async def test_another_401_is_a_refusal(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.refuse(401, "TERMINAL_UNKNOWN"))
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), Refused)
