"""A till program without an event loop, as a process of its own: settles one bill, and reports what Ctrl-C left."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from terminal_sdk import Credentials, FeeLine, SyncTerminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader


def main(base_url: str, folder: Path) -> None:
    own = Credentials.load(folder / "terminal.json")
    reader = VirtualReader(VirtualCard(CardImage.load(folder / "card.json")))
    line = FeeLine(line_no=1, item_code="X1", item_name="阿莫西林胶囊", category="A", amount_fen=2_000)
    with SyncTerminal(base_url, own.terminal_id, own.key, own.certificate, folder / "till.sqlite") as terminal:
        try:
            with CardSession(reader) as card:
                result = terminal.settle(
                    card=card,
                    bank_ceiling_fen=2_000,
                    pin="123456",
                    visit_no="SYNC-CTRL-C",
                    visit_type="pharmacy",
                    service_date=dt.datetime.now(dt.UTC).date(),
                    lines=[line],
                )
            sys.stdout.write(f"{type(result).__name__}\n")
        except KeyboardInterrupt:
            (left,) = terminal.open_attempts()  # the same terminal goes on after the interrupt
            sys.stdout.write(f"interrupted {left.state}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
