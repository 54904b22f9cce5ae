"""A till at real readers: a card pulled at the worst moment leaves nothing behind, and the same till goes on."""

from __future__ import annotations

import datetime as dt
import itertools
import signal
from typing import Any

import pytest

from terminal_sdk import FeeLine, Settled, Terminal
from terminal_sdk.card import CardSession, UnknownAtr, VirtualCard
from terminal_sdk.reader import CardRemoved, DaemonUnavailable, NoCard
from terminal_sdk.reader.pcsc import PcscReader
from tests.pcsc.chips import ForeignCard, torn_out
from tests.pcsc.conftest import Plug, slot_name
from tests.pcsc.daemon import TILL_READER, Daemon, seen, wait_until
from tests.support.service import RunningService

INTERNAL_AUTHENTICATE = 0x88
GET_RESPONSE = 0xC0
_numbers = itertools.count(1)


def new_bill() -> dict[str, Any]:
    return {
        "visit_no": f"GOES-ON-{next(_numbers)}",
        "visit_type": "pharmacy",
        "service_date": dt.datetime.now(dt.UTC).date(),
        "lines": [FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=3_000)],
    }


async def pay(terminal: Terminal, reader: PcscReader, bill: dict[str, Any]) -> bool:
    with CardSession(reader) as card:
        return isinstance(await terminal.settle(card=card, bank_ceiling_fen=0, **bill), Settled)


@pytest.mark.parametrize("is_run", [False, True], ids=["before it signed", "after it signed"])
async def test_a_card_pulled_while_it_proves_leaves_nothing_half_done(
    service: RunningService, pcscd: Daemon, plug: Plug, is_run: bool
) -> None:
    image = await service.issue_card(current_year_fen=5_000, bank_fen=100_000)
    card, reader, bill = VirtualCard(image), PcscReader(), new_bill()
    settlements = "select count(*) from settlement"
    before = await service.base.pool.fetchval(settlements)
    async with service.terminal() as terminal:
        with torn_out(card, pcscd.port, INTERNAL_AUTHENTICATE, is_run=is_run):
            wait_until(lambda: seen(slot_name(0), present=True), "card")
            with pytest.raises(CardRemoved):
                await pay(terminal, reader, bill)
        assert card.state.counter == int(is_run)
        assert await terminal.open_attempts() == []
        assert await service.base.pool.fetchval(settlements) == before
        assert await service.balances(image) == (5_000, 0)

        with pytest.raises(NoCard):
            await pay(terminal, reader, bill)
        plug(card)
        assert await pay(terminal, reader, bill)
    assert card.state.counter == int(is_run) + 1
    assert await service.balances(image) == (2_000, 0)
    assert await service.bank_books(image) == []


async def test_one_till_through_a_bad_day(service: RunningService, pcscd: Daemon, plug: Plug) -> None:
    """No card, a foreign card, the daemon killed under the session and started anew: one till, one reader object."""
    image = await service.issue_card(current_year_fen=20_000)
    card, reader = VirtualCard(image), PcscReader()
    async with service.terminal() as terminal:
        with pytest.raises(NoCard):
            await pay(terminal, reader, new_bill())
        take_out = plug(ForeignCard())
        with pytest.raises(UnknownAtr):
            await pay(terminal, reader, new_bill())
        take_out()

        plug(card)
        assert await pay(terminal, reader, new_bill())
        bill = new_bill()
        with CardSession(reader) as session:
            session.read()
            pcscd.stop(signal.SIGKILL)
            with pytest.raises(DaemonUnavailable):
                await terminal.settle(card=session, bank_ceiling_fen=0, **bill)
        with pytest.raises(DaemonUnavailable):
            await pay(terminal, reader, bill)
        assert await terminal.open_attempts() == []

        pcscd.start(TILL_READER)
        wait_until(lambda: seen(slot_name(0), present=True), "the card plugging itself in again")
        assert await pay(terminal, reader, bill)
    assert await service.balances(image) == (14_000, 0)
