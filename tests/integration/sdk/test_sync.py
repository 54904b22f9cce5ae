"""The synchronous client: every call, from many threads, beside a running loop, and when it is not open."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import (
    AttemptStillOpen,
    CredentialsInvalid,
    FeeLine,
    ForwarderBusy,
    ForwardPolicy,
    InvalidRequest,
    JournalError,
    KeyReused,
    NotYetKnown,
    RequestRefused,
    Reversed,
    Settled,
    SyncTerminal,
    TerminalClosed,
    TerminalError,
)
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.client import SystemClock
from terminal_sdk.crypto import CertificateAuthority
from terminal_sdk.reader import VirtualReader
from tests.support.scripted_service import QUOTE, RECEIPT, issue

MakeSyncTerminal = Callable[..., SyncTerminal]
TIMEOUT_S = 60.0
SETTLEMENT_ID = "0190b0a4-0000-7000-8000-000000000001"


def other_bill(number: int) -> dict[str, Any]:
    line = FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=100 + number)
    return {
        "visit_no": f"ORDER-{number}",
        "visit_type": "pharmacy",
        "service_date": dt.date(2019, 1, 2),
        "lines": [line],
    }


def settle_one(terminal: SyncTerminal, reader: VirtualReader, number: int) -> int:
    """Settle a bill of that number; its total, in fen."""
    with CardSession(reader) as card:
        result = terminal.settle(card=card, bank_ceiling_fen=0, **other_bill(number))
    assert isinstance(result, Settled)
    return result.split.total_fen


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "terminal-loop"]


def test_every_call(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    away.script.extend(
        [
            steps.answer(QUOTE),
            steps.settlement("pending"),
            steps.settlement("pending"),
            steps.settlement("settled"),
            steps.answer(RECEIPT),
            steps.answer(RECEIPT),
            steps.settlement("settled"),
            steps.reversal(arrived=True),
        ]
    )
    with make_sync_terminal() as terminal:
        assert terminal.recover() == []
        quote = terminal.quote(card=card, **bill)
        assert quote.split.current_year_fen == 4_000
        open_result = terminal.settle(card=card, quote=quote, idempotency_key=terminal.new_key(), wait_ms=0, **bill)
        assert isinstance(open_result, NotYetKnown)
        assert [entry.idempotency_key for entry in terminal.open_attempts()] == [open_result.idempotency_key]
        settled = terminal.wait(open_result, timeout_s=30)
        assert isinstance(settled, Settled)
        assert terminal.receipt(settled) == RECEIPT
        assert terminal.receipt("receipt-1", text=True) == RECEIPT.text
        assert terminal.status(idempotency_key=settled.idempotency_key) == settled
        assert isinstance(terminal.reverse(settlement_id=settled.settlement_id), Reversed)
    assert [heard.path for heard in away.heard[4:6]] == ["/v1/receipts/receipt-1"] * 2
    assert loops() == []


def test_what_was_open_is_recovered(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    away.otherwise = steps.cut
    with make_sync_terminal() as terminal:
        lost = terminal.settle(card=card, bank_ceiling_fen=0, **bill)
        assert isinstance(lost, NotYetKnown)
    away.otherwise = steps.settlement("settled")
    with make_sync_terminal() as terminal:
        (recovered,) = terminal.recover()
    assert isinstance(recovered, Settled)
    assert recovered.idempotency_key == lost.idempotency_key


def test_errors_are_those_of_the_asynchronous_client(
    away: Any,
    steps: Any,
    make_sync_terminal: MakeSyncTerminal,
    card: CardSession,
    bill: dict[str, Any],
    tmp_path: Path,
) -> None:
    with make_sync_terminal() as terminal:
        away.script.append(steps.unknown)
        with pytest.raises(RequestRefused) as refused:
            terminal.status(settlement_id=SETTLEMENT_ID)
        assert refused.value.code == "SETTLEMENT_UNKNOWN"
        with pytest.raises(InvalidRequest):
            terminal.settle(card=card, **bill)
        with pytest.raises(KeyError):
            terminal.quote(card=card)  # type: ignore[call-arg]
        away.script.append(steps.settlement("settled"))
        terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key="order-77-1", **bill)
        with pytest.raises(KeyReused):
            terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key="order-77-1", **other_bill(1))
    with pytest.raises(JournalError), make_sync_terminal(journal=tmp_path):
        pass
    with pytest.raises(InvalidRequest), make_sync_terminal(base_url="not an address"):
        pass
    assert loops() == []


def test_a_result_without_a_loop_says_where_its_receipt_is(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    away.script.append(steps.settlement("settled"))
    with make_sync_terminal() as terminal:
        result = terminal.settle(card=card, bank_ceiling_fen=0, **bill)
        assert isinstance(result, Settled)
        with pytest.raises(TerminalError, match=r"terminal\.receipt\(result\)"):
            result.receipt()


def test_before_entering_and_after_leaving_nothing_is_sent(
    away: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    terminal = make_sync_terminal()
    calls: list[Callable[[], object]] = [
        lambda: terminal.quote(card=card, **bill),
        lambda: terminal.settle(card=card, bank_ceiling_fen=0, **bill),
        lambda: terminal.wait(NotYetKnown(idempotency_key="k" * 8, reason="x"), timeout_s=1),
        lambda: terminal.status(settlement_id=SETTLEMENT_ID),
        lambda: terminal.reverse(settlement_id=SETTLEMENT_ID),
        lambda: terminal.receipt("receipt-1"),
        terminal.open_attempts,
        terminal.recover,
    ]
    for call in calls:
        with pytest.raises(TerminalClosed, match="with SyncTerminal"):
            call()
    assert terminal.new_key().startswith("YD000001-")
    with terminal as opened:
        assert opened.open_attempts() == []
        with pytest.raises(TerminalError, match="open already"):
            terminal.__enter__()
        assert opened.open_attempts() == []
    for call in calls:
        with pytest.raises(TerminalClosed, match="with SyncTerminal"):
            call()
    with terminal:
        assert terminal.open_attempts() == []
    assert away.heard == []
    assert away.sign_ins == 0


def test_many_threads_share_session_and_connections(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, card_image: CardImage
) -> None:
    tills, bills = 8, 3
    ports: set[int] = set()
    held: list[asyncio.Future[None]] = []

    async def answer_all_at_once(heard: Any) -> Any:
        """Only when every till has a request under way."""
        ports.add(heard.request.transport.get_extra_info("peername")[1])
        waiting = asyncio.get_running_loop().create_future()
        held.append(waiting)
        if len(held) == tills:
            for each in held:
                each.set_result(None)
            held.clear()
        await waiting
        return await steps.settlement("settled")(heard)

    away.otherwise = answer_all_at_once

    def till(terminal: SyncTerminal, number: int) -> list[int]:
        reader = VirtualReader(VirtualCard(card_image))
        return [settle_one(terminal, reader, 100 * number + turn) for turn in range(bills)]

    with make_sync_terminal() as terminal, ThreadPoolExecutor(tills) as pool:
        paid = list(pool.map(lambda number: till(terminal, number), range(tills)))
    assert paid == [[100 + 100 * number + turn for turn in range(bills)] for number in range(tills)]
    assert away.sign_ins == 1
    assert len(away.sends) == tills * bills
    assert len(ports) == tills


def test_one_thread_stays_on_one_connection(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, reader: VirtualReader
) -> None:
    ports: set[int] = set()

    async def note_port(heard: Any) -> Any:
        ports.add(heard.request.transport.get_extra_info("peername")[1])
        return await steps.settlement("settled")(heard)

    away.otherwise = note_port
    with make_sync_terminal() as terminal:
        for number in range(5):
            settle_one(terminal, reader, number)
    assert len(ports) == 1


def test_leaving_waits_for_the_bills_of_other_threads(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    arrived, answer = threading.Event(), threading.Event()

    async def answer_late(heard: Any) -> Any:
        arrived.set()
        await asyncio.to_thread(answer.wait, TIMEOUT_S)
        return await steps.settlement("settled")(heard)

    away.script.append(answer_late)
    terminal = make_sync_terminal().__enter__()
    with ThreadPoolExecutor(2) as pool:
        paid = pool.submit(lambda: terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key="order-77-1", **bill))
        assert arrived.wait(TIMEOUT_S)
        with pytest.raises(AttemptStillOpen):
            terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key="order-77-1", **bill)
        left = pool.submit(terminal.__exit__, None, None, None)
        until_closed(terminal)
        assert not left.done()
        answer.set()
        assert isinstance(paid.result(TIMEOUT_S), Settled)
        left.result(TIMEOUT_S)
    assert loops() == []


def until_closed(terminal: SyncTerminal) -> None:
    """Until the terminal takes no new calls."""
    with contextlib.suppress(TerminalClosed):
        while True:
            terminal.open_attempts()


async def test_beside_a_running_loop(
    away: Any, steps: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    away.script.append(steps.settlement("settled"))
    with make_sync_terminal() as terminal:
        assert isinstance(terminal.settle(card=card, bank_ceiling_fen=0, **bill), Settled)


def test_a_call_from_inside_its_own_loop_is_refused(
    away: Any, make_sync_terminal: MakeSyncTerminal, card: CardSession, bill: dict[str, Any]
) -> None:
    class Curious(SystemClock):
        terminal: SyncTerminal

        def monotonic(self) -> float:
            self.terminal.open_attempts()
            return super().monotonic()

    clock = Curious()
    with make_sync_terminal(clock=clock) as terminal:
        clock.terminal = terminal
        with pytest.raises(TerminalError, match="inside its own calls"):
            terminal.settle(card=card, bank_ceiling_fen=0, **bill)


def test_enrolment(away: Any, terminal_ca: CertificateAuthority, tmp_path: Path) -> None:
    away.enrol = lambda request: issue(terminal_ca, request)
    own = SyncTerminal.enrol(away.base_url, "YD000001", "code-0000-1111", tmp_path / "own.json")
    assert own.certificate.public_key == own.key.public_key
    with pytest.raises(CredentialsInvalid, match="belongs to"):
        SyncTerminal.enrol(away.base_url, "YD000002", "code-0000-1111", tmp_path / "own.json")
    assert loops() == []


def test_the_plain_client_forwards_in_the_background(away: Any, steps: Any, make_sync_terminal: Any) -> None:
    """The forwarder runs in the terminal's own thread while the till does other things."""
    ended: list[Any] = []
    heard = threading.Event()

    def note(result: Any) -> None:
        ended.append(result)
        heard.set()

    with make_sync_terminal() as terminal:
        away.otherwise = steps.cut
        assert isinstance(terminal.reverse(settlement_id=SETTLEMENT_ID), NotYetKnown)
        away.otherwise = steps.reversal(arrived=True)
        with terminal.forwarder(ForwardPolicy(backoff_first_s=0.01), on_result=note) as forwarder:
            assert heard.wait(30)
            with pytest.raises(ForwarderBusy):
                terminal.forwarder().once()
        forwarder.stop()
        assert [each.need for each in terminal.waiting()] == ["hand_out"]
        assert terminal.mark_handed_out(ended[0])
        assert terminal.forwarder().once() == []
        assert terminal.resume() == []
        left = terminal.forwarder().__enter__()
    left.stop()  # leaving the terminal has ended it
    assert not [thread for thread in threading.enumerate() if thread.name == "terminal-loop"]
