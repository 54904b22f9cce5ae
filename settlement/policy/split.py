"""The split of a bill: class C never on insurance; the rest from the current-year account, then the carried-over one,
then the remainder from the bank or in cash. Pure, total and deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from terminal_sdk.wire import FeeLine, Split, SplitPart

OWN_EXPENSE = "own_expense"
CURRENT_YEAR = "account_current_year"
CARRIED_OVER = "account_carried_over"
REMAINDER = "remainder"

RemainderPayer = Literal["bank", "cash"]


@dataclass(frozen=True, slots=True)
class Balances:
    """What the insurance accounts can pay now (posted less held), in fen, and the version they were read at."""

    current_year_fen: int
    carried_over_fen: int
    version: int


def use_deposit(split: Split, deposit_fen: int) -> Split:
    """The split where a deposit pays the remainder as far as it reaches, line by line in the order of the parts."""
    left, parts = deposit_fen, list[SplitPart]()
    for part in split.parts:
        used = min(left, part.amount_fen) if part.payer in {"bank", "cash"} else 0
        left -= used
        if used:
            parts.append(replace(part, payer="deposit", amount_fen=used))
        if part.amount_fen > used:
            parts.append(replace(part, amount_fen=part.amount_fen - used))
    from_bank = sum(part.amount_fen for part in parts if part.payer == "bank")
    from_cash = sum(part.amount_fen for part in parts if part.payer == "cash")
    return replace(split, deposit_fen=deposit_fen - left, bank_fen=from_bank, cash_fen=from_cash, parts=parts)


def split_bill(lines: Sequence[FeeLine], balances: Balances, remainder: RemainderPayer) -> Split:
    """Say who pays each fen of the bill.

    Lines are served in the order of their numbers. The parts of the result sum to the bill, and to each line; no part
    is negative; a higher balance never raises the remainder.
    """
    current_year = max(balances.current_year_fen, 0)
    carried_over = max(balances.carried_over_fen, 0)
    own_expense = 0
    parts: list[SplitPart] = []

    def pay(line: FeeLine, rule: str, payer: Literal["current_year", "carried_over", "bank", "cash"], fen: int) -> None:
        if fen > 0:
            parts.append(SplitPart(line_no=line.line_no, rule=rule, payer=payer, amount_fen=fen))

    for line in sorted(lines, key=lambda each: each.line_no):
        if line.category == "C":
            own_expense += line.amount_fen
            pay(line, OWN_EXPENSE, remainder, line.amount_fen)
            continue
        from_current = min(line.amount_fen, current_year)
        from_carried = min(line.amount_fen - from_current, carried_over)
        current_year -= from_current
        carried_over -= from_carried
        pay(line, CURRENT_YEAR, "current_year", from_current)
        pay(line, CARRIED_OVER, "carried_over", from_carried)
        pay(line, REMAINDER, remainder, line.amount_fen - from_current - from_carried)

    def paid_by(payer: str) -> int:
        return sum(part.amount_fen for part in parts if part.payer == payer)

    return Split(
        total_fen=sum(line.amount_fen for line in lines),
        own_expense_fen=own_expense,
        current_year_fen=paid_by("current_year"),
        carried_over_fen=paid_by("carried_over"),
        bank_fen=paid_by("bank"),
        cash_fen=paid_by("cash"),
        parts=parts,
    )
