"""Refusals after an unanswered send, reversals, and the recovery of what was open: doubt ends only by being removed."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import NotYetKnown, Refused, RequestRefused, Reversed, Settled, Terminal
from terminal_sdk.card import CardSession
from terminal_sdk.client import SystemClock
from terminal_sdk.crypto import Sm2PrivateKey

SETTLEMENT_ID = "0190b0a4-0000-7000-8000-000000000001"
REVERSAL_BY_ID = f"POST /v1/settlements/{SETTLEMENT_ID}/reversal"


class JumpedClock(SystemClock):
    """A till's clock that somebody set."""

    ahead = dt.timedelta()

    def now(self) -> dt.datetime:
        return super().now() + self.ahead


async def leave_open(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any], **more: Any
) -> NotYetKnown:
    peer.otherwise = steps.cut
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill, **more)
    assert isinstance(result, NotYetKnown)
    peer.otherwise = steps.refuse(599, "NOT_IN_THE_SCRIPT")
    peer.heard.clear()
    return result


async def test_a_refusal_after_an_unanswered_send_is_sealed_first(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.cut, steps.refuse(409, "QUOTE_EXPIRED"), steps.reversal(arrived=False)])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Refused)
    assert result.code == "QUOTE_EXPIRED"
    sealed = peer.heard[-1]
    assert sealed.what == "POST /v1/reversals"
    assert sealed.json["original_idempotency_key"] == result.idempotency_key
    assert await terminal.open_attempts() == []


async def test_what_the_seal_finds_is_taken_back(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.cut, steps.refuse(409, "QUOTE_EXPIRED"), steps.reversal(arrived=True, final=False)])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Reversed)
    assert result.arrived
    assert not result.final


async def test_a_seal_without_an_answer_stays_doubt_and_is_recovered(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.cut, steps.refuse(409, "QUOTE_EXPIRED")])
    peer.otherwise = steps.cut
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, NotYetKnown)
    assert result.refusal is not None
    assert result.refusal.code == "QUOTE_EXPIRED"
    assert [entry.operation for entry in await terminal.open_attempts()] == ["settlement", "reversal"]
    reversal_keys = {heard.json["idempotency_key"] for heard in peer.calls("POST /v1/reversals")}
    peer.heard.clear()
    peer.script.append(steps.reversal(arrived=False))
    (recovered,) = await terminal.recover()
    assert isinstance(recovered, Reversed)
    assert {heard.json["idempotency_key"] for heard in peer.heard} == reversal_keys
    assert len(reversal_keys) == 1
    assert await terminal.open_attempts() == []


@pytest.mark.parametrize("code", ["IDEMPOTENCY_KEY_REUSED", "REVERSED_BEFORE_ARRIVAL"])
async def test_a_key_that_means_another_bill_is_never_reversed(
    code: str, peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.cut, steps.refuse(409, code)])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Refused)
    assert len(peer.heard) == 2


async def test_status_of_a_key_on_its_way_is_not_yet_known(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    open_still = await leave_open(peer, steps, terminal, card, bill)
    peer.otherwise = steps.unknown
    result = await terminal.status(idempotency_key=open_still.idempotency_key)
    assert isinstance(result, NotYetKnown)
    assert result.reason == "SETTLEMENT_UNKNOWN"
    with pytest.raises(RequestRefused, match="SETTLEMENT_UNKNOWN"):
        await terminal.status(idempotency_key="never-used-here")
    with pytest.raises(RequestRefused, match="SETTLEMENT_UNKNOWN"):
        await terminal.status(settlement_id=SETTLEMENT_ID)


async def test_reversal_of_what_never_arrived(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    open_still = await leave_open(peer, steps, terminal, card, bill)
    peer.script.extend([steps.cut, steps.reversal(arrived=False)])
    result = await terminal.reverse(idempotency_key=open_still.idempotency_key)
    assert isinstance(result, Reversed)
    assert not result.arrived
    first, second = peer.calls("POST /v1/reversals")
    assert first.body == second.body
    assert await terminal.open_attempts() == []  # the original is closed too
    peer.script.append(steps.unknown)
    assert isinstance(await terminal.status(idempotency_key=open_still.idempotency_key), Reversed)


async def test_a_reversal_by_id_repeated_is_one_reversal_and_can_be_followed(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.settlement("settled"))
    settled = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(settled, Settled)
    peer.script.extend([steps.reversal(arrived=True, final=False)] * 2)
    results = [await terminal.reverse(settlement_id=settled.settlement_id) for _ in range(2)]
    bodies = {heard.body for heard in peer.calls(REVERSAL_BY_ID)}
    assert len(bodies) == 1
    assert [isinstance(result, Reversed) and not result.final for result in results] == [True, True]
    peer.script.extend([steps.reversal(arrived=True, final=False), steps.reversal(arrived=True)])
    final = await terminal.wait(results[0], timeout_s=30)
    assert isinstance(final, Reversed)
    assert final.final
    assert len(peer.calls("GET /v1/reversals/reversal-1")) == 2


async def test_a_refused_reversal_can_be_asked_again(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.unknown, steps.reversal(arrived=True)])
    assert isinstance(await terminal.reverse(settlement_id=SETTLEMENT_ID), Refused)
    assert isinstance(await terminal.reverse(settlement_id=SETTLEMENT_ID), Reversed)
    first, second = peer.calls(REVERSAL_BY_ID)
    assert first.body == second.body


async def test_a_reversal_asked_again_after_a_refusal_is_open_until_it_is_answered(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.unknown)
    assert isinstance(await terminal.reverse(settlement_id=SETTLEMENT_ID), Refused)
    peer.otherwise = steps.cut
    assert isinstance(await terminal.reverse(settlement_id=SETTLEMENT_ID), NotYetKnown)
    peer.otherwise = steps.reversal(arrived=True)
    (recovered,) = await terminal.recover()
    assert isinstance(recovered, Reversed)


async def test_an_unanswered_reversal_is_open_until_it_is_answered(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.cut
    result = await terminal.reverse(idempotency_key="key-00000000")
    assert isinstance(result, NotYetKnown)
    assert result.operation == "reversal"
    peer.otherwise = steps.reversal(arrived=True)
    assert isinstance(await terminal.wait(result, timeout_s=30), Reversed)
    assert len({heard.body for heard in peer.heard}) == 1


async def test_recover_sends_again_within_the_deadline(
    peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    async with make_terminal() as terminal:
        peer.otherwise = steps.cut
        open_still = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
        body = peer.sends[0].body
        peer.heard.clear()
    async with make_terminal() as terminal:
        peer.script.extend([steps.unknown, steps.cut, steps.settlement("settled")])
        (recovered,) = await terminal.recover()
        assert isinstance(recovered, Settled)
        assert recovered.idempotency_key == open_still.idempotency_key
        assert {heard.body for heard in peer.sends} == {body}
        assert await terminal.recover() == []


async def test_recover_seals_what_is_past_its_deadline(
    peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    async with make_terminal() as terminal:
        await leave_open(peer, steps, terminal, card, bill, deadline_ms=150_000)
    peer.clock_ahead_ms = 151_000
    async with make_terminal() as terminal:
        peer.script.extend([steps.unknown, steps.reversal(arrived=False)])
        (recovered,) = await terminal.recover()
        assert isinstance(recovered, Reversed)
        assert not recovered.arrived
        assert peer.sends == []
        assert await terminal.open_attempts() == []


@pytest.mark.parametrize(("before_h", "after_h"), [(0, 30), (0, -30), (30, 0), (-30, 0)])
async def test_a_till_whose_clock_jumps_keeps_the_deadline(
    before_h: int, after_h: int, peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    """By its own clock it would seal the bill too early after a jump ahead, and after one back send it too late."""
    clock = JumpedClock()
    clock.ahead = dt.timedelta(hours=before_h)
    async with make_terminal(clock=clock) as terminal:
        await leave_open(peer, steps, terminal, card, bill)
    clock.ahead = dt.timedelta(hours=after_h)
    jumped_ahead = after_h > before_h
    peer.clock_ahead_ms = 0 if jumped_ahead else 151_000
    async with make_terminal(clock=clock) as terminal:
        end = steps.settlement("settled") if jumped_ahead else steps.reversal(arrived=False)
        peer.script.extend([steps.unknown, end])
        (recovered,) = await terminal.recover()
        assert isinstance(recovered, Settled if jumped_ahead else Reversed)


async def test_recover_never_sends_a_pin_of_an_earlier_session(
    peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    async with make_terminal() as terminal:
        await leave_open(peer, steps, terminal, card, bill, pin="271828")
    async with make_terminal() as terminal:
        peer.script.extend([steps.unknown, steps.reversal(arrived=False)])
        (recovered,) = await terminal.recover()
        assert isinstance(recovered, Reversed)
        assert peer.sends == []


async def test_recover_concludes_nothing_from_an_unproven_answer(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    await leave_open(peer, steps, terminal, card, bill)
    peer.otherwise = steps.refuse(404, "SETTLEMENT_UNKNOWN", mac="wrong")
    (recovered,) = await terminal.recover()
    assert isinstance(recovered, NotYetKnown)
    assert {heard.what for heard in peer.heard} == {"GET /v1/settlements"}


async def test_recover_ends_what_never_left_without_a_word_to_anyone(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any], journal_path: Path
) -> None:
    """The till stopped between writing the attempt and its first byte."""
    await leave_open(peer, steps, terminal, card, bill)
    with contextlib.closing(sqlite3.connect(journal_path)) as db, db:
        db.execute("update attempt set state = 'prepared', sent_at = null")
    (recovered,) = await terminal.recover()
    assert isinstance(recovered, Refused)
    assert recovered.code == "NEVER_SENT"
    assert peer.heard == []


async def test_recover_is_bounded_by_its_time(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    await leave_open(peer, steps, terminal, card, bill)
    (recovered,) = await terminal.recover(timeout_s=0)
    assert isinstance(recovered, NotYetKnown)
    assert recovered.reason == "not asked yet"
    assert peer.heard == []


async def test_under_a_new_terminal_key_an_open_attempt_is_asked_for_and_sealed(
    peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    async with make_terminal() as terminal:
        open_still = await leave_open(peer, steps, terminal, card, bill)
    key = Sm2PrivateKey.generate()
    peer.terminal_key = key.public_key
    async with make_terminal(key=key) as terminal:
        peer.script.extend([steps.unknown, steps.reversal(arrived=False)])
        (recovered,) = await terminal.recover()
        assert isinstance(recovered, Reversed)
        assert recovered.idempotency_key == open_still.idempotency_key
        assert peer.sends == []
        assert await terminal.open_attempts() == []
