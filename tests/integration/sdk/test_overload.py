"""A service at its limit: a new bill is told to wait and leaves no doubt; what was perhaps taken is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from terminal_sdk import NotYetKnown, Refused, Settled, Terminal
from terminal_sdk.card import CardSession


@pytest.mark.parametrize(("status", "code"), [(503, "OVERLOADED"), (503, "NOT_READY"), (429, "TERMINAL_FLOODING")])
async def test_a_new_bill_is_told_to_wait(
    status: int, code: str, peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.refuse(status, code, retry_after_ms=1)
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Refused)
    assert (result.code, result.detail.retry_after_ms) == (code, 1)
    assert await terminal.open_attempts() == []
    assert peer.calls("POST /v1/reversals") == []
    peer.otherwise = steps.settlement("settled")
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), Settled)


async def test_after_an_unanswered_send_it_stays_in_doubt(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.append(steps.cut)
    peer.otherwise = steps.refuse(503, "OVERLOADED", retry_after_ms=1)
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, NotYetKnown)
    assert "OVERLOADED" in result.reason
    assert result.retry_after_s == 0.001


async def test_a_put_off_that_is_not_proven_tells_nothing(
    peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.otherwise = steps.refuse(503, "OVERLOADED", mac="wrong", retry_after_ms=1)
    assert isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), NotYetKnown)


@pytest.mark.parametrize("code", ["TIMED_OUT", "OUTCOME_UNKNOWN"])
async def test_what_the_service_works_on_still_is_asked_for_and_not_sent_again(
    code: str, peer: Any, steps: Any, terminal: Terminal, card: CardSession, bill: dict[str, Any]
) -> None:
    peer.script.extend([steps.refuse(504, code), steps.settlement("settled")])
    result = await terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    assert isinstance(result, Settled)
    assert [heard.what for heard in peer.heard] == ["POST /v1/settlements", "GET /v1/settlements"]
