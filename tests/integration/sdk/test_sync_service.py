"""The synchronous client against the running service: tills in threads, one terminal, cards of their own."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from terminal_sdk import Bill, FeeLine, Reversed, Settled, SyncTerminal
from terminal_sdk.card import CardImage, VirtualCard
from tests.support.service import RunningService, present

TILLS = 6


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
