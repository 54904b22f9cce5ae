"""A till as its maker writes it: every line of this must type-check, strictly."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import assert_never, assert_type

from terminal_sdk import (
    AnyResult,
    Bill,
    Credentials,
    Declined,
    FeeLine,
    JournalEntry,
    NotYetKnown,
    Quote,
    Receipt,
    RefundLine,
    RefundResult,
    Refused,
    Result,
    ReversalResult,
    Reversed,
    Settled,
    SyncTerminal,
    Terminal,
    Waiting,
    to_printer,
)
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.reader import CardReader, VirtualReader
from terminal_sdk.reader.pcsc import PcscReader

BILL = Bill(
    visit_no="ORDER-1",
    visit_type="pharmacy",
    service_date=dt.date(2026, 1, 5),
    lines=[FeeLine(line_no=1, item_code="X1", item_name="x", category="A", amount_fen=100)],
)


def readers(folder: Path) -> list[CardReader]:
    return [VirtualReader(VirtualCard(CardImage.load(folder / "card.json"))), PcscReader()]


def what_now(result: Result) -> str:
    match result:
        case Settled():
            return f"collect {result.cash_fen}"
        case Declined():
            return result.code
        case Reversed():
            return "taken back"
        case Refused():
            return result.message
        case NotYetKnown():
            return result.reason
        case _:
            assert_never(result)


async def asynchronous(own: Credentials, reader: CardReader) -> None:
    async with Terminal("http://x", own.terminal_id, own.key, own.certificate, "till.sqlite") as terminal:
        with CardSession(reader) as card:
            quote = await terminal.quote(card=card, **BILL)
            assert_type(quote, Quote)
            result = await terminal.settle(card=card, quote=quote, pin="123456", **BILL)
        assert_type(result, Result)
        if isinstance(result, Settled):
            assert_type(await result.receipt(), Receipt)
            assert_type(await terminal.receipt(result, text=True), str)
        assert_type(await terminal.reverse(idempotency_key=result.idempotency_key), ReversalResult)
        assert_type(await terminal.resume(paid="reverse"), list[AnyResult])
        assert_type(await terminal.refund(settlement_id="x", lines=[RefundLine(line_no=1)]), RefundResult)
        assert_type(await terminal.waiting(), list[Waiting])
        async with terminal.forwarder() as forwarder:
            assert_type(await forwarder.once(), list[AnyResult])


def plain(own: Credentials, reader: CardReader) -> None:
    with SyncTerminal("http://x", own.terminal_id, own.key, own.certificate, Path("till.sqlite")) as terminal:
        with CardSession(reader) as card:
            assert_type(terminal.quote(card=card, **BILL), Quote)
            result = terminal.settle(card=card, bank_ceiling_fen=0, **BILL)
        assert_type(result, Result)
        if isinstance(result, Settled):
            assert_type(to_printer(terminal.receipt(result)), bytes)
            assert_type(terminal.receipt(result.receipt_id, text=True), str)
        assert_type(terminal.open_attempts(), list[JournalEntry])
        with terminal.forwarder() as forwarder:
            assert_type(forwarder.once(), list[AnyResult])
