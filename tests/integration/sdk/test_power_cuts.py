"""A till that loses power at any place: its next run finds out what happened, hands it out once, or takes it back."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import (
    AnyResult,
    Credentials,
    Declined,
    NotYetKnown,
    Refused,
    Reversed,
    Settled,
    SyncTerminal,
    Terminal,
)
from terminal_sdk.card import CardSession

KEY = "order-77-attempt-1"
TILL = Path(__file__).with_name("halting_till.py")
REVERSAL = "POST /v1/settlements/0190b0a4-0000-7000-8000-000000000001/reversal"
Resume = Callable[..., Awaitable[list[AnyResult]]]


async def killed(client: str, stage: str, peer: Any, folder: Path) -> None:
    """Let a till settle up to that place, and cut its power."""
    arrived = asyncio.Event()
    if stage == "arrived":

        async def swallow(heard: Any) -> Any:
            arrived.set()
            return await peer.hang(heard)

        peer.script.append(swallow)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(TILL), client, stage, str(folder), peer.base_url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        if stage == "arrived":
            await arrived.wait()
        else:
            assert await process.stdout.readline() == b"halted\n"
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    peer.heard.clear()
    peer.script.clear()


@pytest.fixture
def resume(client: str, peer: Any, credentials: Credentials, journal_path: Path) -> Resume:
    """The next run of the till: ``resume``, and everything that it gives is handed out, if ``told``."""

    def arguments() -> dict[str, Any]:
        own = credentials
        given = {"terminal_id": own.terminal_id, "key": own.key, "certificate": own.certificate}
        return {"base_url": peer.base_url, "journal": journal_path, **given}

    def plain(*, told: bool, **how: Any) -> list[AnyResult]:
        with SyncTerminal(**arguments()) as terminal:
            results = terminal.resume(**how)
            if told:
                for result in results:
                    terminal.mark_handed_out(result)
        return results

    async def run(*, told: bool = True, **how: Any) -> list[AnyResult]:
        if client == "plain":
            return await asyncio.to_thread(lambda: plain(told=told, **how))
        async with Terminal(**arguments()) as terminal:
            results = await terminal.resume(**how)
            if told:
                for result in results:
                    await terminal.mark_handed_out(result)
        return results

    return run


BOTH = pytest.mark.parametrize("client", ["async", "plain"])
ASYNC = pytest.mark.parametrize("client", ["async"])
PLAIN = pytest.mark.parametrize("client", ["plain"])
# What the service knows of the bill when the till comes back, and so what the till learns.
STAGES = {
    "prepared": ("nothing", Refused),
    "sent": ("nothing", Settled),  # within its deadline it is sent again
    "arrived": ("settled", Settled),
    "answered": ("settled", Settled),
    "journalled": ("settled", Settled),
    "printed": ("settled", Settled),
}


@BOTH
@pytest.mark.parametrize("stage", STAGES)
async def test_the_next_run_finds_out_and_hands_out_once(
    stage: str, client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    peer.script.append(steps.settlement("settled"))
    peer.otherwise = steps.answer(steps.RECEIPT)
    await killed(client, stage, peer, tmp_path)
    known, expected = STAGES[stage]
    peer.otherwise = steps.settlement("settled")
    if known == "nothing":
        peer.script.append(steps.unknown)
    (result,) = await resume(told=False)
    assert isinstance(result, expected)
    assert result.idempotency_key == KEY
    assert len(peer.sends) == (1 if stage == "sent" else 0)
    if stage == "prepared":
        assert peer.heard == []
    (again,) = await resume()  # it was not handed out the first time: the power went again
    assert type(again) is expected
    assert await resume() == []


@ASYNC
async def test_what_never_arrived_is_sealed_once_its_deadline_is_over(
    client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    await killed(client, "sent", peer, tmp_path)
    peer.clock_ahead_ms = 151_000
    peer.script.extend([steps.unknown, steps.reversal(arrived=False)])
    (result,) = await resume()
    assert isinstance(result, Reversed)
    assert (result.idempotency_key, result.arrived) == (KEY, False)
    assert peer.sends == []
    assert await resume() == []


@BOTH
@pytest.mark.parametrize("stage", ["arrived", "journalled"])
async def test_a_bill_that_nobody_waits_for_is_taken_back_where_the_till_wants_that(
    stage: str, client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    peer.script.append(steps.settlement("settled"))
    await killed(client, stage, peer, tmp_path)
    asked: list[str] = []

    def decide(settled: Settled) -> Any:
        asked.append(settled.idempotency_key)
        return "reverse"

    async def serve(heard: Any) -> Any:
        step = (
            steps.reversal(arrived=True) if heard.method == "POST" else steps.settlement("settled", idempotency_key=KEY)
        )
        return await step(heard)

    peer.otherwise = serve
    (result,) = await resume(paid=decide)
    assert isinstance(result, Reversed)
    assert asked == [KEY]
    assert len(peer.calls(REVERSAL)) == 1
    assert await resume() == []


@PLAIN
async def test_a_decline_that_was_never_told_is_told(
    client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    peer.script.append(steps.settlement("declined"))
    await killed(client, "journalled", peer, tmp_path)
    (result,) = await resume()
    assert isinstance(result, Declined)
    assert result.bank_code == "51"
    assert peer.heard == []
    assert await resume() == []


@ASYNC
async def test_an_open_bill_waits_and_a_forwarder_ends_it(
    client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path, make_terminal: Any
) -> None:
    await killed(client, "arrived", peer, tmp_path)
    peer.otherwise = steps.settlement("pending")
    (open_still,) = await resume()
    assert isinstance(open_still, NotYetKnown)
    peer.otherwise = steps.settlement("settled", idempotency_key=KEY)
    async with make_terminal() as terminal:
        (waits,) = await terminal.waiting()
        assert (waits.need, waits.idempotency_key) == ("send", KEY)
        assert [type(each) for each in await terminal.forwarder().once()] == [Settled]
        (waits,) = await terminal.waiting()
        assert waits.need == "hand_out"
    assert [type(each) for each in await resume()] == [Settled]
    assert await resume() == []


@PLAIN
async def test_a_bill_whose_reversal_is_on_its_way_is_never_printed(
    client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    """The operator gave up while the network was down: a paid bill, and a reversal that has still to be heard."""
    peer.script.append(steps.settlement("settled"))
    await killed(client, "journalled", peer, tmp_path)

    async def deaf_to_reversals(heard: Any) -> Any:
        return None if heard.method == "POST" else await steps.settlement("settled", idempotency_key=KEY)(heard)

    peer.otherwise = deaf_to_reversals
    (queued,) = await resume(paid="reverse", timeout_s=1)
    assert isinstance(queued, NotYetKnown)
    assert queued.operation == "reversal"
    (queued,) = await resume(timeout_s=1)
    assert isinstance(queued, NotYetKnown)
    peer.otherwise = steps.reversal(arrived=True)
    assert [type(each) for each in await resume()] == [Reversed]
    assert await resume() == []


@ASYNC
async def test_a_bill_taken_back_elsewhere_meanwhile_is_told_as_that(
    client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    peer.script.append(steps.settlement("settled"))
    await killed(client, "journalled", peer, tmp_path)
    peer.otherwise = steps.settlement("reversed", idempotency_key=KEY)
    (result,) = await resume()
    assert isinstance(result, Reversed)
    assert await resume() == []


@ASYNC
@pytest.mark.parametrize("stage", ["sent"])
async def test_without_the_service_everything_waits(
    stage: str, client: str, resume: Resume, peer: Any, steps: Any, tmp_path: Path
) -> None:
    await killed(client, stage, peer, tmp_path)
    peer.otherwise = steps.cut
    (result,) = await resume(timeout_s=1)
    assert isinstance(result, NotYetKnown)
    assert steps.journal_rows(tmp_path / "till.sqlite") == [(KEY, "settlement", "sent")]


async def test_late_doubled_and_overtaken_answers_bring_no_bill_back(
    peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    """An answer that says *settled* arrives after the reversal that was sent later was answered."""
    release = asyncio.Event()

    async def late(heard: Any) -> Any:
        reply = await steps.settlement("settled", idempotency_key=KEY)(heard)
        await release.wait()
        return reply

    async with make_terminal() as terminal:
        peer.script.append(steps.settlement("settled"))
        paid = await terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key=KEY, **bill)
        assert isinstance(paid, Settled)
        peer.script.extend([late, late, steps.reversal(arrived=True)])
        asked = [
            asyncio.create_task(terminal.status(settlement_id=paid.settlement_id)),
            asyncio.create_task(terminal.status(idempotency_key=KEY)),
        ]
        while len(peer.heard) < 3:
            await asyncio.sleep(0.005)
        assert isinstance(await terminal.reverse(settlement_id=paid.settlement_id), Reversed)
        release.set()
        assert [type(each) for each in await asyncio.gather(*asked)] == [Reversed, Reversed]
        for state in ("settled", "pending"):
            peer.script.append(steps.settlement(state, idempotency_key=KEY))
            assert isinstance(await terminal.status(idempotency_key=KEY), Reversed)


@pytest.mark.parametrize("late_state", ["pending", "settled"])
async def test_an_ended_attempt_stays_ended(
    late_state: str, peer: Any, steps: Any, make_terminal: Any, card: CardSession, bill: dict[str, Any]
) -> None:
    async with make_terminal() as terminal:
        peer.script.append(steps.settlement("reversed"))
        ended = await terminal.settle(card=card, bank_ceiling_fen=0, idempotency_key=KEY, **bill)
        assert isinstance(ended, Reversed)
        peer.otherwise = steps.settlement(late_state, idempotency_key=KEY)
        assert isinstance(await terminal.status(idempotency_key=KEY), Reversed)
        assert await terminal.open_attempts() == []
