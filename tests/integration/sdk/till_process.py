"""A till as a process of its own, to be killed: ``till_process.py FOLDER BASE_URL`` settles one bill of the folder."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from pathlib import Path

from terminal_sdk import Credentials, FeeLine, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader


async def main(folder: Path, base_url: str) -> None:
    own = Credentials.load(folder / "terminal.json")
    image = CardImage.load(folder / "card.json")
    journal = folder / "till.sqlite"
    async with Terminal(base_url, own.terminal_id, own.key, own.certificate, journal) as terminal:
        with CardSession(VirtualReader(VirtualCard(image))) as card:
            await terminal.settle(
                card=card,
                bank_ceiling_fen=0,
                idempotency_key="order-77-attempt-1",
                visit_no="ORDER-77",
                visit_type="pharmacy",
                service_date=dt.date(2019, 1, 2),
                lines=[
                    FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=3_000)
                ],
            )


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
