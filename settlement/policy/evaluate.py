"""Who pays what of a bill by one rule of a plan: pure, total, and every fen explained.

Rounding: a fund's share of a band is rounded once for each bill and band, half a fen up, over the lines in the order of
their numbers: each line gets what the share has grown by. So lines sum to the share, and the share is at most half a
fen off. A self-paid share of a line and a price ceiling are rounded in the same way, for the line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from msgspec import Struct

from settlement.policy.plan import WHOLE, Account, Band, LineRules, Rule

RemainderPayer = Literal["bank", "cash"]

OWN_EXPENSE = "own_expense"
ABOVE_CEILING = "above_price_ceiling"
SELF_PAID = "self_paid_share"
FIRST = "account_first"

_HALF = WHOLE // 2
_BY_NUMBER = attrgetter("line_no")


class Part(Struct, frozen=True, gc=False):
    """Which rule gave which amount (fen) of a line to whom."""

    line_no: int
    rule: str
    payer: str
    amount_fen: int


class JudgedLine(Struct, frozen=True, gc=False):
    """A line taken apart: what no plan covers, and what is covered. Amounts in fen, which sum to the line."""

    line_no: int
    own_expense_fen: int
    above_ceiling_fen: int
    self_paid_fen: int
    covered_fen: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """``parts`` sum to the bill, line by line · ``paid``: fen by payer · ``counted``: what the bill adds to counters
    (``covered`` in the bands, and each fund's payment), in fen.
    """

    parts: list[Part]
    paid: Mapping[str, int]
    counted: Mapping[str, int]


class _Payers:
    """What is being paid from, while a bill is judged."""

    __slots__ = ("_balances", "_remainder", "paid", "parts")

    def __init__(self, balances: Mapping[str, int], remainder: str) -> None:
        self._balances = {account: fen for account, fen in balances.items() if fen > 0}
        self._remainder = remainder
        self.parts: list[Part] = []
        self.paid: dict[str, int] = {}

    def pay(self, line_no: int, rule: str, payer: str, fen: int) -> None:
        """Note a part, which is not of nothing."""
        self.parts.append(Part(line_no, rule, payer, fen))
        self.paid[payer] = self.paid.get(payer, 0) + fen

    def pay_from(self, line_no: int, rule: str, accounts: Sequence[Account], fen: int) -> int:
        """Pay from accounts in their order as far as they reach; returns what is left."""
        balances = self._balances
        for account in accounts:
            balance = balances.get(account)
            if balance is None:
                continue
            if fen < balance:
                balances[account] = balance - fen
                self.pay(line_no, rule, account, fen)
                return 0
            del balances[account]
            self.pay(line_no, rule, account, balance)
            fen -= balance
            if not fen:
                return 0
        return fen

    def pay_rest(self, line_no: int, rule: str, accounts: Sequence[Account], fen: int) -> None:
        """From accounts, and what they cannot pay is the patient's."""
        if accounts and self._balances:
            fen = self.pay_from(line_no, rule, accounts, fen)
        if fen:
            self.pay(line_no, rule, self._remainder, fen)


def judge_line(
    line_no: int, category: str, amount_fen: int, *, share: int = 0, ceiling_fen: int | None = None
) -> JudgedLine:
    """Take a line apart by its class.

    ``share``: the self-paid share of class B in ten-thousandths, of what lies below the ceiling · ``ceiling_fen``: the
    most that is recognised for the whole line.
    """
    if category == "C":
        return JudgedLine(line_no, amount_fen, 0, 0, 0)
    above = max(0, amount_fen - ceiling_fen) if ceiling_fen is not None else 0
    recognised = amount_fen - above
    self_paid = (recognised * share + _HALF) // WHOLE if category == "B" else 0
    return JudgedLine(line_no, 0, above, self_paid, recognised - self_paid)


def evaluate(
    rule: Rule,
    line_rules: LineRules,
    lines: Sequence[JudgedLine],
    *,
    balances: Mapping[str, int],
    counted: Mapping[str, int],
    remainder: RemainderPayer,
) -> Outcome:
    """Say who pays each fen.

    ``balances``: fen by account · ``counted``: what has been counted before in this rule's scope, ``covered`` and each
    fund's payments (fen) · ``remainder``: who pays what no plan and no account does. No part is negative; each payer's
    total never falls when a line is added, and the remainder never rises with a balance.
    """
    payers = _Payers(balances, remainder)
    course = _Course(rule, counted)
    for line in sorted(lines, key=_BY_NUMBER):
        number = line.line_no
        if line.own_expense_fen:
            payers.pay_rest(number, OWN_EXPENSE, line_rules.own_expense, line.own_expense_fen)
        if line.above_ceiling_fen:
            payers.pay_rest(number, ABOVE_CEILING, line_rules.above_ceiling, line.above_ceiling_fen)
        if line.self_paid_fen:
            payers.pay_rest(number, SELF_PAID, line_rules.self_paid, line.self_paid_fen)
        covered = line.covered_fen
        if covered and rule.first:
            covered = payers.pay_from(number, FIRST, rule.first, covered)
        if covered:
            course.carry(number, covered, payers)
    return Outcome(payers.parts, payers.paid, course.moved())


class _Course:
    """The way of a bill's covered amount through the bands, from where the counters stand."""

    def __init__(self, rule: Rule, counted: Mapping[str, int]) -> None:
        self._bands = rule.bands
        self._counts = rule.counts is not None
        self._before = max(0, counted.get("covered", 0)) if self._counts else 0
        self._covered = self._before
        self._paid_before = {band.fund: max(0, counted.get(band.fund, 0)) for band in rule.bands if band.fund}
        self._paid = dict(self._paid_before)
        self._place = 0
        self._in_band = 0
        self._given = 0

    def carry(self, line_no: int, fen: int, payers: _Payers) -> None:
        """Take a line's covered amount through the bands."""
        while fen:
            band = self._bands[self._place]
            room = self._room(band)
            if room is not None and room <= 0:
                self._place, self._in_band, self._given = self._place + 1, 0, 0
                continue
            taken = fen if room is None or fen < room else room
            self._in_band += taken
            share = 0
            if band.fund is not None:
                due = (self._in_band * band.ratio + _HALF) // WHOLE
                share, self._given = due - self._given, due
                if share:
                    self._paid[band.fund] += share
                    payers.pay(line_no, band.name, band.fund, share)
            if share < taken:
                payers.pay_rest(line_no, band.name, band.rest, taken - share)
            self._covered += taken
            fen -= taken

    def _room(self, band: Band) -> int | None:
        """How much more the band takes (fen); None: any amount."""
        if band.to_fen is not None:
            return band.to_fen - self._covered
        if band.fund_to_fen is None or band.fund is None:
            return None
        # The most that keeps the rounded share within what the fund may still pay.
        may_be_given = band.fund_to_fen - self._paid[band.fund] + self._given
        if may_be_given < self._given:
            return 0
        return ((may_be_given + 1) * WHOLE - _HALF - 1) // band.ratio - self._in_band if band.ratio else None

    def moved(self) -> dict[str, int]:
        moved: dict[str, int] = {fund: fen - self._paid_before[fund] for fund, fen in self._paid.items()}
        if self._counts:
            moved["covered"] = self._covered - self._before
        return {name: fen for name, fen in moved.items() if fen}
