"""A settlement from the till's side: what is sent, what is durable by then, and what each answer becomes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import (
    AttemptStillOpen,
    Declined,
    InvalidRequest,
    KeyReused,
    NotYetKnown,
    Refused,
    RequestRefused,
    Reversed,
    ServiceUnreachable,
    Settled,
    SignInRefused,
    Terminal,
)
from terminal_sdk.card import CardImage, CardSession
from terminal_sdk.pin import decode_pin_block
from terminal_sdk.signing import card_signed_message, settlement_challenge
from tests.support.scripted_service import QUOTE, RECEIPT


def check_proof(image: CardImage, body: dict[str, Any], agreed: str) -> None:
    proof = body["proof"]
    challenge = settlement_challenge(
        terminal_id="YD000001",
        visit_no=body["visit_no"],
        total_fen=body["total_fen"],
        agreed=agreed,
        signed_at_ms=proof["signed_at_ms"],
    )
    message = card_signed_message(image.card_number, proof["counter"], challenge)
    image.certificate().public_key.verify(message, bytes.fromhex(proof["signature"]))


async def test_quote_then_settle(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, card_image: CardImage, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.answer(QUOTE), steps.settlement("settled")])
    quote = await terminal.quote(card=card, **bill)
    result = await terminal.settle(card=card, quote=quote, pin="271828", **bill)
    assert isinstance(result, Settled)
    asked, sent = peer.heard
    assert asked.what == "POST /v1/quotes"
    assert asked.json["total_fen"] == 5_000
    assert asked.json["card"] == {
        "card_number": "A12345678",
        "certificate_fingerprint": card_image.certificate().fingerprint,
    }
    assert sent.json["quote"] == "quote-token"
    assert sent.json["idempotency_key"] == result.idempotency_key
    check_proof(card_image, sent.json, "quote:" + "ab" * 32)
    pin_key = peer.sessions[sent.session][1]
    assert decode_pin_block(bytes.fromhex(sent.json["pin_block"]), "6222020200112233445", pin_key) == "271828"
    assert await terminal.open_attempts() == []
    assert peer.sign_ins == 1


async def test_settle_under_a_ceiling(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, card_image: CardImage, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.settlement("declined"))
    result = await terminal.settle(card=card, bank_ceiling_fen=1_500, on_bank_decline="cash", **bill)
    assert isinstance(result, Declined)
    assert (result.code, result.bank_code) == ("BANK_DECLINED", "51")
    body = peer.heard[0].json
    assert (body["bank_ceiling_fen"], body["on_bank_decline"], body["pin_block"]) == (1_500, "cash", None)
    check_proof(card_image, body, "ceiling:1500")


async def test_key_and_request_are_durable_before_the_first_byte(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any], journal_path: Path
) -> None:
    seen: list[Any] = []

    async def look(heard: Any) -> Any:
        seen.extend(steps.journal_rows(journal_path))
        entries = await terminal.open_attempts()
        assert [entry.request for entry in entries] == [heard.body]
        return await steps.settlement("settled")(heard)

    peer.script.append(look)
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Settled)
    assert seen == [(result.idempotency_key, "settlement", "sent")]
    assert steps.journal_rows(journal_path) == [(result.idempotency_key, "settlement", "answered")]


async def test_every_retry_is_the_same_key_and_body_under_a_fresh_mac(
    peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    async def garbage(_: Any) -> Any:
        return steps.Reply(status=200, body=b"{")

    async def flood(heard: Any) -> Any:
        reply = await steps.settlement("settled")(heard)
        return steps.Reply(status=200, body=reply.body + b" " * 200_000)

    async def another_key(heard: Any) -> Any:
        return await steps.settlement("settled", idempotency_key="someone-elses")(heard)

    faults = [
        steps.cut,
        peer.hang,
        steps.page(502),
        steps.page(503, **{"Retry-After": "0"}),
        steps.page(504),
        steps.refuse(500, "INTERNAL"),
        steps.refuse(503, "OVERLOADED", retry_after_ms=1),
        steps.refuse(429, "OVERLOADED"),
        steps.settlement("settled", mac="wrong"),
        steps.settlement("settled", mac="none"),
        steps.refuse(403, "CARD_LOST", mac="wrong"),
        steps.refuse(409, "BILL_ALREADY_SETTLED", mac="none"),
        steps.refuse(401, "NONCE_REPLAYED"),
        steps.page(302, Location="/elsewhere"),
        garbage,
        flood,
        another_key,
    ]
    peer.script.extend([*faults, steps.settlement("settled")])
    async with make_terminal(sends_max=30, answer_timeout_s=1.5, answer_bytes_max=100_000) as terminal:
        result = await terminal.settle(card=card, bank_ceiling_fen=0, wait_ms=0, **bill)
    assert isinstance(result, Settled)
    assert peer.heard == peer.sends
    assert len(peer.sends) == len(faults) + 1
    assert {heard.json["idempotency_key"] for heard in peer.sends} == {result.idempotency_key}
    assert len({heard.body for heard in peer.sends}) == 1
    assert len({heard.nonce for heard in peer.sends}) == len(peer.sends)


async def test_not_found_on_the_status_call_is_not_final(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.cut] * 4 + [steps.unknown, steps.cut, steps.settlement("settled")])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Settled)
    asked = peer.calls("GET /v1/settlements")
    assert [heard.query for heard in asked] == [{"idempotency_key": result.idempotency_key}]
    assert {heard.json["idempotency_key"] for heard in peer.sends} == {result.idempotency_key}
    assert len(peer.sends) == 6


async def test_silence_is_not_yet_known_and_stays_in_the_journal(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.cut
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, NotYetKnown)
    assert len(peer.sends) == 8  # two rounds of four
    assert len(peer.calls("GET /v1/settlements")) == 8
    assert [entry.idempotency_key for entry in await terminal.open_attempts()] == [result.idempotency_key]

    with pytest.raises(AttemptStillOpen) as open_still:
        await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert open_still.value.idempotency_key == result.idempotency_key
    assert len(peer.sends) == 8

    peer.otherwise = steps.settlement("settled")
    final = await terminal.wait(result, timeout_s=30)
    assert isinstance(final, Settled)
    assert final.idempotency_key == result.idempotency_key
    assert await terminal.open_attempts() == []


async def test_202_is_polled_while_the_time_that_was_granted_lasts(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.settlement("pending"), steps.settlement("pending")])
    peer.otherwise = steps.settlement("settled")
    result = await terminal.settle(card=card, bank_ceiling_fen=0, wait_ms=30_000, **bill)
    assert isinstance(result, Settled)
    assert len(peer.sends) == 1


async def test_202_without_time_is_not_yet_known_until_waited_for(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.settlement("pending")
    result = await terminal.settle(card=card, bank_ceiling_fen=0, wait_ms=0, **bill)
    assert isinstance(result, NotYetKnown)
    assert result.settlement is not None
    assert (await terminal.open_attempts())[0].settlement_id == result.settlement.settlement_id
    again = await terminal.wait(result, timeout_s=0.05)
    assert isinstance(again, NotYetKnown)

    async def settled(heard: Any) -> Any:
        return await steps.settlement("settled", idempotency_key=result.idempotency_key)(heard)

    peer.otherwise = settled
    assert isinstance(await terminal.wait(again, timeout_s=30), Settled)
    assert await terminal.open_attempts() == []


@pytest.mark.parametrize("state", ["reversing", "reversed"])
async def test_a_bill_that_was_turned_back_is_reversed(
    state: str, peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.settlement(state))
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Reversed)
    assert result.final is (state == "reversed")
    assert await terminal.open_attempts() == []


async def test_a_proven_refusal_of_the_only_send_is_final(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.refuse(409, "AGREEMENT_EXCEEDED", quote=QUOTE))
    result = await terminal.settle(card=card, bank_ceiling_fen=100, **bill)
    assert isinstance(result, Refused)
    assert result.code == "AGREEMENT_EXCEEDED"
    assert result.quote is not None
    assert result.quote.split.bank_fen == 1_000
    assert len(peer.heard) == 1
    assert await terminal.open_attempts() == []


async def test_a_busy_person_is_waited_for(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    busy = steps.refuse(409, "PERSON_BUSY", retry_after_ms=5)
    peer.script.extend([busy, busy, steps.settlement("settled")])
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), Settled)
    assert len({heard.body for heard in peer.sends}) == 1
    peer.script.extend([busy] * 4)
    refused = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(refused, Refused)
    assert refused.detail.retry_after_ms == 5


async def test_a_key_of_the_till_continues_its_attempt(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    key = terminal.new_key()
    peer.otherwise = steps.cut
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key=key, **bill), NotYetKnown)
    body = peer.sends[0].body
    with pytest.raises(KeyReused):
        await terminal.settle(card=card, bank_ceiling_fen=1, idempotency_key=key, **bill)
    peer.otherwise = steps.settlement("settled")
    again = await terminal.settle(card=card, bank_ceiling_fen=0, wait_ms=0, idempotency_key=key, **bill)
    assert isinstance(again, Settled)  # how long the till waits is no part of the bill
    assert {heard.body for heard in peer.sends} == {body}
    before = len(peer.heard)
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key=key, **bill), Settled)
    assert len(peer.heard) == before  # answered from the journal


async def test_two_taps_are_one_attempt(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(heard: Any) -> Any:
        arrived.set()
        await go_on.wait()
        return await steps.settlement("settled")(heard)

    peer.script.append(slow)
    first = asyncio.create_task(terminal.settle(card=card, bank_ceiling_fen=0, **bill))
    await asyncio.wait_for(arrived.wait(), 20)
    with pytest.raises(AttemptStillOpen):
        await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    go_on.set()
    assert isinstance(await first, Settled)
    assert len(peer.sends) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bank_ceiling_fen": None}, "exactly one"),
        ({"bank_ceiling_fen": -1}, "bank_ceiling_fen"),
        ({"visit_no": "张建国"}, "visit_no"),
        ({"wait_ms": 60_000}, "wait_ms"),
        ({"lines": []}, "lines"),
        ({"idempotency_key": "short"}, "idempotency_key"),
    ],
)
async def test_a_wrong_request_is_refused_here_and_leaves_no_trace(
    change: dict[str, Any], problem: str, peer: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        await terminal.settle(card=card, **({"bank_ceiling_fen": 0} | bill | change))
    assert await terminal.open_attempts() == []
    assert peer.heard == []


async def test_without_a_service_nothing_is_begun(
    peer: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    await peer.stop()
    with pytest.raises(ServiceUnreachable):
        await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert await terminal.open_attempts() == []


async def test_a_suspended_terminal_is_told_so(
    peer: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.suspended = True
    with pytest.raises(SignInRefused) as refused:
        await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert refused.value.code == "TERMINAL_SUSPENDED"
    assert await terminal.open_attempts() == []


async def test_the_service_goes_away_and_comes_back(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.answer(QUOTE))
    await terminal.quote(card=card, **bill)  # signs in
    await peer.stop()
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, NotYetKnown)
    await peer.start()
    peer.script.append(steps.unknown)
    peer.otherwise = steps.settlement("settled")
    final = await terminal.wait(result, timeout_s=30)
    assert isinstance(final, Settled)
    assert peer.sends[0].json["idempotency_key"] == result.idempotency_key


async def test_quote_and_receipt_raise_what_the_service_said(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.page(502), steps.refuse(403, "CARD_LOST")])
    with pytest.raises(RequestRefused, match="CARD_LOST"):
        await terminal.quote(card=card, **bill)
    peer.otherwise = steps.cut
    with pytest.raises(ServiceUnreachable):
        await terminal.receipt("receipt-1")
    with pytest.raises(InvalidRequest):
        await terminal.receipt("../settlements")


async def test_the_receipt_of_a_settled_bill(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    given = steps.answer(RECEIPT)
    peer.script.extend([steps.settlement("settled"), given, given, given])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Settled)
    assert await result.receipt() == RECEIPT
    assert await terminal.receipt(result) == RECEIPT
    assert await terminal.receipt("receipt-1", text=True) == RECEIPT.text
    assert peer.heard[-1].what == "GET /v1/receipts/receipt-1"


async def test_a_card_that_refuses_leaves_nothing_behind(
    peer: Any, terminal: Terminal, card: CardSession, reader: Any, bill: dict[str, Any]
) -> None:
    reader.remove()
    with pytest.raises(Exception, match=r".") as failure:
        await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert type(failure.value).__name__ in ("CardRemoved", "ConnectionClosed")
    assert await terminal.open_attempts() == []
    assert peer.heard == []


async def test_an_answer_counts_even_if_the_journal_cannot_take_it(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any], journal_path: Path
) -> None:
    async def break_journal(heard: Any) -> Any:
        with contextlib.closing(sqlite3.connect(journal_path)) as db, db:
            db.execute("alter table open_line rename to elsewhere")
        return await steps.settlement("settled")(heard)

    peer.script.append(break_journal)
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), Settled)
    assert len(await terminal.open_attempts()) == 1
    with contextlib.closing(sqlite3.connect(journal_path)) as db, db:
        db.execute("alter table elsewhere rename to open_line")
    peer.script.append(steps.settlement("settled"))
    (recovered,) = await terminal.recover()
    assert isinstance(recovered, Settled)
    assert await terminal.open_attempts() == []
