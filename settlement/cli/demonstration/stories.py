"""What happens in the demonstration: one story for each kind of bill, each checked for its outcome."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from settlement.bootstrap import Base
from settlement.businessdate import SHANGHAI
from settlement.cards.model import Coverage
from settlement.cli.demonstration.city import Bank, Patient, Person, admit_patient, make_up_person
from settlement.stubs.bankhost.wire import FaultSpec, Match
from terminal_sdk import Bill, Declined, FeeLine, NotYetKnown, Result, Reversed, Settled, Terminal
from terminal_sdk.wire import Category

_MEDICINES = (
    ("XA01001", "阿莫西林胶囊", "A", 2_450),
    ("XB02002", "阿托伐他汀钙片", "B", 5_680),
    ("XA03003", "二甲双胍缓释片", "A", 3_120),
    ("FC01001", "血常规检查", "A", 2_000),
    ("FC02002", "胸部CT平扫", "B", 28_000),
)
_OWN_EXPENSE = ("ZC09009", "进口营养补充剂", "C", 16_800)
_SCAN = ("FC03003", "磁共振平扫", "A", 68_000)
_PENSIONER = Coverage(
    valid_from=dt.date(2018, 4, 1), plan="employees", status="retired", retired_on=dt.date(1999, 6, 30)
)
"""Deductible 300.00 a year, then 80 to 90 % by the institution's level."""
_SMALL_BALANCE_FEN = 1_000
_IN_DOUBT_WAIT_S = 60.0


class StoryFailed(Exception):
    """A story ended otherwise than it must."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a story ended: amounts in fen, and the id of its receipt if there is one."""

    kind: str
    outcome: str
    insurance_fen: int
    bank_fen: int
    cash_fen: int
    receipt_id: str | None


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a story plays: the service's registries, a till, a bank, and the story's own chance."""

    base: Base
    terminal: Terminal
    bank: Bank
    chance: random.Random
    number: str

    def person(self) -> Person:
        """Somebody new, or somebody of an earlier run with the same seed."""
        return make_up_person(self.chance)

    def bill(self, *extra: tuple[str, str, str, int], own_expense_only: bool = False) -> Bill:
        """One to three lines, and those asked for."""
        chosen = [] if own_expense_only else self.chance.sample(_MEDICINES, self.chance.randint(1, 3))
        lines = [
            FeeLine(line_no=number, item_code=code, item_name=name, category=_category(category), amount_fen=fen)
            for number, (code, name, category, fen) in enumerate([*chosen, *extra], start=1)
        ]
        today = self.base.clock.now().astimezone(SHANGHAI).date()
        kind = "pharmacy" if self.terminal.terminal_id.startswith("DEMOP") else "outpatient"
        return Bill(
            visit_no=self.number,
            visit_type="pharmacy" if kind == "pharmacy" else "outpatient",
            service_date=today,
            lines=lines,
        )


def _category(text: str) -> Category:
    return "A" if text == "A" else "B" if text == "B" else "C"


def total(bill: Bill) -> int:
    """The bill's sum in fen."""
    return sum(line.amount_fen for line in bill["lines"])


async def _pay(scene: Scene, patient: Patient, bill: Bill, *, quoted: bool = False, cash: bool = False) -> Result:
    with patient.present() as card:
        quote = await scene.terminal.quote(card=card, **bill) if quoted else None
        return await scene.terminal.settle(
            card=card,
            quote=quote,
            bank_ceiling_fen=None if quoted else total(bill),
            pin=None if patient.image.pan is None else patient.pin,
            on_bank_decline="cash" if cash else "release",
            **bill,
        )


def _settled(result: Result, kind: str, wanted: Callable[[Settled], bool]) -> Told:
    if not isinstance(result, Settled) or not wanted(result):
        raise StoryFailed(f"{kind}: {result}")
    split = result.split
    return Told(
        kind,
        "settled",
        split.current_year_fen + split.carried_over_fen + split.pooled_fund_fen + split.additional_fund_fen,
        split.bank_fen,
        split.cash_fen,
        result.settlement.receipt_id,
    )


async def account_pays_all(scene: Scene) -> Told:
    """The insurance accounts cover the bill: no bank hears of it."""
    bill = scene.bill()
    half = total(bill) // 2
    patient = await admit_patient(
        scene.base,
        scene.person(),
        bank=scene.bank,
        balances={"current_year": half, "carried_over": total(bill)},
        bank_balance_fen=100_000,
    )
    result = await _pay(scene, patient, bill, quoted=True)
    return _settled(result, "account pays all", lambda each: each.split.bank_fen == 0 and each.cash_fen == 0)


async def fund_pays(scene: Scene) -> Told:
    """A plan covers the patient: above the deductible the additional fund pays its ratio."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 1_000}, bank_balance_fen=1_000_000
    )
    await scene.base.cards.cover(patient.image.card_number, _PENSIONER)
    bill = scene.bill(_SCAN)
    bill["visit_type"] = "outpatient"
    result = await _pay(scene, patient, bill, quoted=True)
    return _settled(result, "fund pays its ratio", lambda each: each.split.additional_fund_fen > 0)


async def account_and_bank(scene: Scene) -> Told:
    """Insurance first, the bank for the rest."""
    bill = scene.bill(_OWN_EXPENSE)
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 1_000}, bank_balance_fen=1_000_000
    )
    result = await _pay(scene, patient, bill, quoted=True)
    return _settled(result, "account + bank", lambda each: each.split.bank_fen > 0)


async def bank_declines_cash(scene: Scene) -> Told:
    """The bank has not enough; the insurance part stays, cash takes the rest."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 500}, bank_balance_fen=10
    )
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE), cash=True)
    return _settled(result, "bank declines, cash", lambda each: each.split.bank_fen == 0 and each.cash_fen > 0)


async def bank_declines_release(scene: Scene) -> Told:
    """The bank has not enough and the till chose to release: nothing is charged anywhere."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 500}, bank_balance_fen=10
    )
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE))
    if not isinstance(result, Declined):
        raise StoryFailed(f"bank declines, released: {result}")
    return Told("bank declines, released", f"declined ({result.code})", 0, 0, 0, None)


async def own_expense_only(scene: Scene) -> Told:
    """Class C alone: never on insurance, however much there is."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 500_000}, bank_balance_fen=1_000_000
    )
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE, own_expense_only=True))
    return _settled(result, "own expense only", lambda each: each.split.bank_fen == each.split.total_fen)


async def legacy_card(scene: Scene) -> Told:
    """An older card: insurance only, the rest in cash."""
    patient = await admit_patient(scene.base, scene.person(), bank=None, balances={"current_year": 1_000})
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE))
    return _settled(result, "legacy card", lambda each: each.split.bank_fen == 0 and each.cash_fen > 0)


async def bank_side_not_activated(scene: Scene) -> Told:
    """The financial function is not activated: the insurance part goes through, the rest is cash."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": _SMALL_BALANCE_FEN}, activate="social"
    )
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE))
    return _settled(result, "bank side not activated", lambda each: each.split.current_year_fen == _SMALL_BALANCE_FEN)


async def reversal(scene: Scene) -> Told:
    """Settled, then taken back whole: everything goes to where it came from."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 1_000}, bank_balance_fen=1_000_000
    )
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE))
    if not isinstance(result, Settled):
        raise StoryFailed(f"reversal: {result}")
    undone: Result = await scene.terminal.reverse(settlement_id=result.settlement_id)
    if isinstance(undone, NotYetKnown) or (isinstance(undone, Reversed) and not undone.final):
        undone = await scene.terminal.wait(undone, timeout_s=_IN_DOUBT_WAIT_S)
    if not isinstance(undone, Reversed) or not undone.final:
        raise StoryFailed(f"reversal: {undone}")
    return Told("reversal", "reversed", 0, 0, 0, undone.reversal.receipt_id if undone.reversal else None)


async def answer_lost(scene: Scene) -> Told:
    """The bank debits, its answer is lost: not yet known, later settled, one debit."""
    patient = await admit_patient(
        scene.base, scene.person(), bank=scene.bank, balances={"current_year": 1_000}, bank_balance_fen=1_000_000
    )
    fault = FaultSpec(action="drop_after_commit", bank=scene.bank.code, match=Match(mti="0200", pan=patient.image.pan))
    await scene.bank.admin.add_fault(fault)
    result = await _pay(scene, patient, scene.bill(_OWN_EXPENSE))
    if isinstance(result, NotYetKnown):
        result = await scene.terminal.wait(result, timeout_s=_IN_DOUBT_WAIT_S)
    return _settled(result, "bank's answer lost", lambda each: each.split.bank_fen > 0)


Story = Callable[[Scene], Awaitable[Told]]
STORIES: tuple[Story, ...] = (
    account_pays_all,
    account_and_bank,
    fund_pays,
    bank_declines_cash,
    own_expense_only,
    legacy_card,
    reversal,
    bank_declines_release,
    bank_side_not_activated,
    answer_lost,
)
NEEDS_INQUIRY = frozenset({answer_lost})
"""Stories that a bank without inquiry would end otherwise: its unanswered debits are turned back at the deadline."""
