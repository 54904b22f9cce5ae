"""The synchronous client against the running service: a day, tills in threads, and Ctrl-C while a bank is slow."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk import Bill, Credentials, FeeLine, Reversed, Settled, SyncTerminal, Terminal
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.service import RunningService, present

TILLS = 6
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


def pay(terminal: SyncTerminal, image: CardImage) -> list[int]:
    """Three bills of one card, the last one taken back; what the bank debited, in fen."""
    chip = VirtualCard(image)
    debited = []
    for number in range(3):
        bill = Bill(
            visit_no=f"{terminal.terminal_id}-{image.card_number}-{number}",
            visit_type="pharmacy",
            service_date=dt.datetime.now(dt.UTC).date(),
            lines=[FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=1_000)],
        )
        with present(chip) as card:
            quote = terminal.quote(card=card, **bill)
            result = terminal.settle(card=card, quote=quote, pin=image.pin, **bill)
        assert isinstance(result, Settled)
        assert terminal.receipt(result).visit_no == bill["visit_no"]
        debited.append(result.split.bank_fen)
    undone = terminal.wait(terminal.reverse(settlement_id=result.settlement_id), timeout_s=30)
    assert isinstance(undone, Reversed)
    return debited


async def test_tills_in_threads_share_a_terminal(service: RunningService, tmp_path: Path) -> None:
    own = await service.enrolled()
    images = [await service.issue_card(current_year_fen=1_500, bank_fen=10_000) for _ in range(TILLS)]

    def work() -> list[list[int]]:
        with (
            SyncTerminal(service.base_url, own.terminal_id, own.key, own.certificate, tmp_path / "till.sqlite") as till,
            ThreadPoolExecutor(TILLS) as pool,
        ):
            paid = list(pool.map(lambda image: pay(till, image), images))
            assert till.open_attempts() == []
        return paid

    assert await asyncio.to_thread(work) == [[0, 500, 1_000]] * TILLS
    for image in images:
        assert await service.live_debits(image) == [500]


async def test_a_day_at_a_till_without_a_loop(service: RunningService, tmp_path: Path) -> None:
    image = await service.issue_card(current_year_fen=1_000, bank_fen=100_000)
    own = await service.enrolled()
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
            assert terminal.wait(result, timeout_s=1) == result
            assert terminal.receipt(result) == terminal.receipt(result.settlement.receipt_id or "")
            assert terminal.receipt(result, text=True) == terminal.receipt(result).text
            undone = terminal.wait(terminal.reverse(settlement_id=result.settlement_id), timeout_s=30)
            assert isinstance(undone, Reversed)
            assert undone.final
            assert terminal.open_attempts() == []

    await asyncio.to_thread(day)
    assert await service.live_debits(image) == []


async def test_ctrl_c_while_the_bank_is_slow(service: RunningService, tmp_path: Path) -> None:
    own = await service.enrolled()
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
    async with Terminal(
        service.base_url, own.terminal_id, own.key, own.certificate, tmp_path / "till.sqlite"
    ) as terminal:
        (found,) = await terminal.recover()
        assert isinstance(await terminal.wait(found, timeout_s=40), Settled)
    assert await service.live_debits(image) == [1_500]
