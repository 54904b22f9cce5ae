"""The plain client, for programs without an event loop: the same calls, from any thread, and what Ctrl-C leaves."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk import (
    Bill,
    Credentials,
    FeeLine,
    InvalidRequest,
    Refused,
    RequestRefused,
    RetryPolicy,
    Reversed,
    ServiceUnreachable,
    Settled,
    SyncTerminal,
    Terminal,
    TerminalError,
)
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.service import RunningService, present

_orders = itertools.count(1)
PROGRAM = Path(__file__).with_name("sync_till.py")


def a_bill(*amounts_fen: int) -> Bill:
    return Bill(
        visit_no=f"SYNC-{next(_orders)}",
        visit_type="pharmacy",
        service_date=dt.datetime.now(dt.UTC).date(),
        lines=[
            FeeLine(line_no=number, item_code="X1", item_name="阿莫西林胶囊", category="A", amount_fen=fen)
            for number, fen in enumerate(amounts_fen, start=1)
        ],
    )


def opened(service: RunningService, own: Credentials, folder: Path) -> SyncTerminal:
    return SyncTerminal(service.base_url, own.terminal_id, own.key, own.certificate, folder / "till.sqlite")


def pay(terminal: SyncTerminal, image: CardImage, bill: Bill) -> Settled:
    with present(VirtualCard(image)) as card:
        result = terminal.settle(card=card, bank_ceiling_fen=100_000, pin=image.pin, **bill)
    assert isinstance(result, Settled), result
    return result


@pytest.fixture
async def own(service: RunningService) -> Credentials:
    return await service.enrolled()


async def test_a_day_at_a_till_without_a_loop(service: RunningService, own: Credentials, tmp_path: Path) -> None:
    image = await service.issue_card(current_year_fen=1_000, bank_fen=100_000)
    code = await service.register_terminal("SYNC0001")

    def day() -> None:
        enrolled = SyncTerminal.enrol(service.base_url, "SYNC0001", code, tmp_path / "own.json")
        assert enrolled.terminal_id == "SYNC0001"
        with opened(service, own, tmp_path) as terminal:
            assert terminal.recover() == []
            card = VirtualCard(image)
            bill = a_bill(1_500, 700)
            key = terminal.new_key()
            with present(card) as presence:
                quote = terminal.quote(card=presence, **bill)
                assert quote.split.bank_fen == 1_200
                result = terminal.settle(card=presence, quote=quote, pin=image.pin, idempotency_key=key, **bill)
            assert isinstance(result, Settled)
            assert terminal.status(idempotency_key=key) == result
            assert terminal.wait(result, timeout_s=1) is result
            assert terminal.receipt(result) == terminal.receipt(result.settlement.receipt_id or "")
            assert terminal.receipt(result, text=True) == terminal.receipt(result).text
            undone = terminal.wait(terminal.reverse(settlement_id=result.settlement_id), timeout_s=30)
            assert isinstance(undone, Reversed)
            assert undone.final
            assert terminal.open_attempts() == []

    await asyncio.to_thread(day)
    assert await service.live_debits(image) == []


async def test_errors_are_those_of_the_asynchronous_client(
    service: RunningService, own: Credentials, tmp_path: Path
) -> None:
    image = await service.issue_card(current_year_fen=1_000)

    def till() -> None:
        with opened(service, own, tmp_path) as terminal:
            with pytest.raises(RequestRefused, match="SETTLEMENT_UNKNOWN"):
                terminal.status(settlement_id="00000000-0000-7000-8000-000000000000")
            with pytest.raises(InvalidRequest), present(VirtualCard(image)) as card:
                terminal.settle(card=card, **a_bill(100))
            paid = a_bill(100)
            pay(terminal, image, paid)
            with present(VirtualCard(image)) as card:
                again = terminal.settle(card=card, bank_ceiling_fen=0, **paid)
            assert isinstance(again, Refused)
        quick = RetryPolicy(patience_s=1, sends_max=1, connect_timeout_s=0.5)
        nowhere = SyncTerminal(
            "http://127.0.0.1:9", own.terminal_id, own.key, own.certificate, tmp_path / "n", policy=quick
        )
        with nowhere, pytest.raises(ServiceUnreachable):
            nowhere.status(idempotency_key="nothing-at-all")

    await asyncio.to_thread(till)


async def test_many_threads_share_one_terminal(service: RunningService, own: Credentials, tmp_path: Path) -> None:
    images = [await service.issue_card(current_year_fen=500, bank_fen=10_000) for _ in range(8)]

    def till() -> list[Settled]:
        with opened(service, own, tmp_path) as terminal, ThreadPoolExecutor(len(images)) as clerks:
            return list(clerks.map(lambda image: pay(terminal, image, a_bill(800)), images))

    settled = await asyncio.to_thread(till)
    assert len({result.settlement_id for result in settled}) == len(images)
    for image in images:
        assert await service.live_debits(image) == [300]


async def test_it_works_inside_a_program_that_has_a_loop(
    service: RunningService, own: Credentials, tmp_path: Path
) -> None:
    image = await service.issue_card(current_year_fen=500)
    with opened(service, own, tmp_path) as terminal:  # blocks this loop, and does not need it
        pay(terminal, image, a_bill(100))


async def test_ctrl_c_leaves_the_attempt_in_the_journal(
    service: RunningService, own: Credentials, tmp_path: Path
) -> None:
    image = await service.issue_card(current_year_fen=500, bank_fen=10_000)
    own.save(tmp_path / "terminal.json")
    (tmp_path / "card.json").write_text(image.to_json(), encoding="utf-8")
    slow = Match(mti="0200", pan=image.pan)
    await service.bank.add_fault(
        FaultSpec(action="delay_ms", bank="ICBC", match=slow, delay_ms=30_000, when="after_commit")
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, service.base_url, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while not await service.live_debits(image):
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGINT)
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert output.decode() == "interrupted sent\n"
    assert process.returncode == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("terminal-")]
    async with Terminal(
        service.base_url, own.terminal_id, own.key, own.certificate, tmp_path / "till.sqlite"
    ) as terminal:
        (found,) = await terminal.recover()
        assert isinstance(await terminal.wait(found, timeout_s=40), Settled)
    assert await service.live_debits(image) == [1_500]


async def test_it_refuses_what_cannot_work(service: RunningService, own: Credentials, tmp_path: Path) -> None:
    terminal = opened(service, own, tmp_path)
    with pytest.raises(TerminalError, match="open the terminal first"):
        terminal.open_attempts()
    with terminal:
        with pytest.raises(TerminalError, match="open already"):
            terminal.__enter__()
        assert (
            in_a_child(terminal) == "this terminal was opened by the parent process; open one of its own after a fork"
        )
        assert terminal.open_attempts() == []
    with pytest.raises(TerminalError, match="open the terminal first"):
        terminal.open_attempts()
    with terminal:  # it may be opened again
        assert terminal.open_attempts() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("terminal-")]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the fork under test, with threads running
def in_a_child(terminal: SyncTerminal) -> str:
    """What a forked child hears when it uses its parent's terminal."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # only async-signal-safe things may follow; this is a test, and it ends at once
        try:
            terminal.open_attempts()
        except TerminalError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


def public_calls(kind: type) -> Iterator[tuple[str, inspect.Signature]]:
    for name, call in inspect.getmembers(kind, callable):
        if not name.startswith("_") or name == "__init__":
            yield name, inspect.signature(call)


def test_both_clients_take_the_same_arguments() -> None:
    ours, theirs = dict(public_calls(SyncTerminal)), dict(public_calls(Terminal))
    assert ours.keys() == theirs.keys()
    assert "settle" in ours
    for name, signature in ours.items():
        assert signature.parameters == theirs[name].parameters, name
        assert signature.return_annotation == theirs[name].return_annotation, name
