"""What the types must refuse: each line that ends in ``# E: code`` is an error of that code, and no other line is."""

from __future__ import annotations

import datetime as dt
from typing import assert_never

from terminal_sdk import Bill, FeeLine, NotYetKnown, Result, Settled, SyncTerminal, Terminal
from terminal_sdk.card import CardSession
from terminal_sdk.reader import VirtualReader

LINE = FeeLine(line_no=1, item_code="X1", item_name="x", category="A", amount_fen=1.5)  # E: arg-type
CLASS = FeeLine(line_no=1, item_code="X1", item_name="x", category="D", amount_fen=1)  # E: arg-type
INCOMPLETE = Bill(visit_no="1", visit_type="pharmacy", lines=[])  # E: typeddict-item
KIND = Bill(visit_no="1", visit_type="inpatient", service_date=dt.date(2026, 1, 5), lines=[])  # E: typeddict-item


def forgets_doubt(result: Result) -> int:
    match result:
        case Settled():
            return result.cash_fen
        case NotYetKnown():
            return 0
        case _:
            assert_never(result)  # E: arg-type


def takes_doubt_for_paid(result: Result) -> int:
    return result.cash_fen  # E: union-attr


async def asynchronous(terminal: Terminal, card: CardSession, bill: Bill) -> None:
    await terminal.settle(card=card, bank_ceiling_fen="5.00", **bill)  # E: arg-type
    await terminal.settle(card=VirtualReader(), bank_ceiling_fen=0, **bill)  # E: arg-type
    await terminal.settle(card, bank_ceiling_fen=0, **bill)  # E: call-arg
    _ = terminal.recover()[0]  # E: index
    terminal.open_attempts()  # E: unused-coroutine


def plain(terminal: SyncTerminal, card: CardSession, bill: Bill) -> None:
    terminal.settle(card=card, bank_ceiling_fen=0, on_bank_decline="credit", **bill)  # E: arg-type
    terminal.quote(card=card, visit_no="1")  # E: call-arg
    result = terminal.settle(card=card, bank_ceiling_fen=0, **bill)
    if isinstance(result, Settled):
        _ = result.receipt().text  # E: attr-defined
        terminal.receipt(result, txt=True)  # E: call-overload
