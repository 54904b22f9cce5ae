"""Stories: one bill each, told the same way every time, so that a crash can be put at each of its awaits in turn."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from settlement.simulation.desk import Order, Refused
from settlement.simulation.population import Card
from settlement.simulation.till import Till
from settlement.simulation.world import Purse, World
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk.wire import FeeLine, Settlement

NOON = dt.datetime(2027, 12, 15, 4, 0, tzinfo=dt.UTC)
BEFORE_BANK_CUT_OVER = dt.datetime(2027, 12, 15, 14, 59, 50, tzinfo=dt.UTC)
_INSURANCE_FEN = 30_000
_BILL_FEN = (20_000, 25_000)
_RICH_FEN = 1_000_000

_REFUSED_TWICE_S = 1_300.0
"""A refused return is tried again after ten minutes."""
_TIMED_OUT_S = 8.1
"""When the debit's time-out has passed, and recovery has not asked yet."""

Script = Callable[[World, Till], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """``bank``: whose card it is · ``bank_fen``, ``insurance_fen``: what is on its accounts.

    ``faults``: what the bank plays · ``weather``: database troubles, each with the statement that it meets · ``every``:
    it is crashed at every point, or, where it waits long and most points are the same idle look at the ledger, at every
    so many.
    """

    name: str
    script: Script
    bank: str = "BOSC"
    begin: dt.datetime = NOON
    insurance_fen: int = _INSURANCE_FEN
    bank_fen: int = _RICH_FEN
    on_bank_decline: str = "release"
    deadline_s: float = 5.0
    faults: tuple[FaultSpec, ...] = ()
    weather: tuple[tuple[str, str], ...] = ()
    every: int = 1

    def purse(self, _: object, card: Card) -> Purse:
        """Everybody has the same."""
        return Purse(self.insurance_fen, 0, self.bank_fen)

    def order(self, world: World) -> Order:
        """The story's one bill."""
        lines = [
            FeeLine(line_no=place, item_code=f"X{place}", item_name="item", category=category, amount_fen=fen)  # type: ignore[arg-type]  # A and B are categories
            for place, (category, fen) in enumerate(zip("AB", _BILL_FEN, strict=True), 1)
        ]
        order = Order(
            number=0,
            till=world.tills[0],
            card=next(card for card in world.cards if card.bank_code == self.bank),
            key=f"S{world.seed}-0000",
            visit_no="V0",
            lines=lines,
            remainder="bank",
            on_bank_decline=self.on_bank_decline,
            deadline_s=self.deadline_s,
            plan="plain",
        )
        world.orders.append(order)
        return order


async def _settle(_: World, till: Till) -> None:
    await till.settle()


async def _settle_or_walk_away(_: World, till: Till) -> None:
    """A refusal is believed: the patient pays in cash and goes."""
    answer = await till.send(wait_ms=0)
    if not (isinstance(answer, Refused) and answer.nothing_begun):
        await till.settle()


async def _settle_and_reverse(_: World, till: Till) -> None:
    view = await till.settle()
    if view is not None:
        await asyncio.sleep(1.0)
        await till.reverse(view)


async def _reverse_after_cut_over(_: World, till: Till) -> None:
    view = await till.settle()
    if view is not None:
        await asyncio.sleep(30.0)
        await till.reverse(view)


async def _reverse_too_late_for_the_bank(world: World, till: Till) -> None:
    view = await till.settle()
    if view is not None:
        for bank in world.banks:
            bank.cut_over()
        await till.reverse(view)


async def _reverse_while_open(_: World, till: Till) -> None:
    view = await till.send(wait_ms=0)
    if isinstance(view, Settlement):
        await till.reverse(view)
    else:
        await till.reverse_by_key()


async def _reverse_first(_: World, till: Till) -> None:
    await till.reverse_by_key()
    await till.send()


async def _reverse_and_wait(_: World, till: Till) -> None:
    view = await till.settle()
    if view is not None:
        await till.reverse(view)
        await asyncio.sleep(_REFUSED_TWICE_S)


async def _capture_breaks(world: World, till: Till) -> None:
    """The approval that recovery brings cannot be posted, for a reason that nobody foresaw: it is noted first."""
    view = await till.send(wait_ms=0)
    await asyncio.sleep(_TIMED_OUT_S)
    world.weather.arm("broken", "record_debit_answers")
    if isinstance(view, Settlement):
        await till.poll(view)


async def _refund_a_line(_: World, till: Till) -> None:
    view = await till.settle()
    if view is not None:
        await till.give_back(view)


_DEBIT = Match(mti="0200", processing_code="000000")
_VOID = Match(mti="0200", processing_code="200000")
_REFUSED_TWICE = (
    FaultSpec(action="answer_code", match=_VOID, code="05", count=2),
    FaultSpec(action="drop_after_commit", match=_VOID),
)
_ANSWER_LOST = (FaultSpec(action="drop_after_commit", match=_DEBIT),)
_REQUEST_LOST = (FaultSpec(action="drop_before_commit", match=_DEBIT),)
_ANSWER_LATE = (FaultSpec(action="delay_ms", delay_ms=4_000, match=_DEBIT),)

STORIES = (
    Story(name="account only", script=_settle, insurance_fen=_RICH_FEN),
    Story(name="account and bank approved", script=_settle),
    Story(name="approved, a bank without inquiry", script=_settle, bank="SRCB"),
    Story(name="declined, released", script=_settle, bank_fen=0),
    Story(name="declined, cash instead", script=_settle, bank_fen=0, on_bank_decline="cash"),
    Story(name="answer lost, with inquiry", script=_settle, faults=_ANSWER_LOST, deadline_s=20.0),
    Story(name="answer lost, without inquiry", script=_settle, bank="SRCB", faults=_ANSWER_LOST, deadline_s=12.0),
    Story(name="request lost, the bank forgets refusals", script=_settle, bank="ABC", faults=_REQUEST_LOST),
    Story(name="reversal of an open bill, late approval", script=_reverse_while_open, faults=_ANSWER_LATE),
    Story(name="reversal of a settled bill, void", script=_settle_and_reverse),
    Story(
        name="reversal, the void's answer lost",
        script=_settle_and_reverse,
        faults=(FaultSpec(action="drop_after_commit", match=_VOID),),
    ),
    Story(name="reversal, the bank refuses twice", script=_reverse_and_wait, faults=_REFUSED_TWICE, every=307),
    Story(name="the capture breaks", script=_capture_breaks, faults=_ANSWER_LOST, deadline_s=20.0),
    Story(name="reversal after the cut-over, refund", script=_reverse_after_cut_over, begin=BEFORE_BANK_CUT_OVER),
    Story(name="reversal, the void comes too late", script=_reverse_too_late_for_the_bank),
    Story(name="reversal by key before its original", script=_reverse_first),
    Story(name="refund of a line", script=_refund_a_line),
    Story(name="database lost at the hold's COMMIT", script=_settle, weather=(("lost_after", "hold_settlements"),)),
    Story(
        name="database gone at the hold's COMMIT, and a till that believes a refusal",
        script=_settle_or_walk_away,
        weather=(("gone_after", "hold_settlements"),),
    ),
    Story(
        name="database lost at the capture's COMMIT",
        script=_settle,
        weather=(("lost_after", "record_debit_answers"),),
    ),
    Story(
        name="database lost at the reversal's COMMIT",
        script=_settle_and_reverse,
        weather=(("lost_after", "request_undos"),),
    ),
)
"""Each kind of bill, and each way in which a step of it can fail."""
