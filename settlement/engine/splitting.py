"""Who pays what of a request's bill as things stand now: by the person's plan; without one the accounts pay first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date

from settlement.cards.checks import bank_notice, insurance_notice
from settlement.cards.model import CardContext, Covered
from settlement.errors import ServiceError
from settlement.ledger.records import PolicyRecord
from settlement.ledger.stays import Admission
from settlement.policy.book import NoPlan, PlanBook
from settlement.policy.catalog import Catalog
from settlement.policy.judge import Bill, Insured, StayRef, judge
from settlement.policy.plan import Person
from settlement.policy.split import Balances, RemainderPayer, split_bill, use_deposit
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import QuoteRequest, SettlementRequest, Split

DEPOSIT = "deposit"
"""The visit type of a stay's deposit: no insurance pays it, and no plan judges it."""
CatalogReader = Callable[[Sequence[str], date], Awaitable[Catalog]]
"""The catalog's word on some item codes, up to a day."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A split, and by what plan it was judged. ``notice``: why the bank is not asked although the till would ask it."""

    split: Split
    notice: str | None
    policy: list[PolicyRecord] | None


class Splitting:
    """Judges bills. Pure but for the catalog."""

    def __init__(self, plans: PlanBook, catalog: CatalogReader) -> None:
        self._plans = plans
        self._catalog = catalog

    async def judged(
        self,
        who: TerminalIdentity,
        request: QuoteRequest | SettlementRequest,
        card: CardContext,
        stay: Admission | None = None,
        deposit_fen: int = 0,
    ) -> Judged:
        """The split by the accounts and counters of this context. ``stay``: of which the bill is, if it is one's ·
        ``deposit_fen``: what of its deposits may be used.

        Raises ``ServiceError`` PLAN_MISSING.
        """
        payer: RemainderPayer = request.remainder
        notice = bank_notice(card) if payer == "bank" else None
        if notice is not None:
            if request.visit_type == DEPOSIT:
                raise ServiceError(notice)
            payer = "cash"
        policy = None
        if insurance_notice(card) is not None or request.visit_type == DEPOSIT:
            split = split_bill(request.lines, Balances(0, 0, card.account_version), payer)
        elif card.covered is None:
            balances = Balances(card.current_year_available_fen, card.carried_over_available_fen, card.account_version)
            split = split_bill(request.lines, balances, payer)
        else:
            codes = sorted({line.item_code for line in request.lines})
            bill = Bill(
                lines=request.lines,
                service_date=request.service_date,
                visit_type=request.visit_type,
                level=who.institution_level,
                items=await self._catalog(codes, request.service_date),
                remainder=payer,
                stay=None if stay is None else StayRef(stay.stay_id, stay.admitted_on),
            )
            try:
                split, policy = judge(bill, _insured(card, card.covered), self._plans)
            except NoPlan as error:
                raise ServiceError("PLAN_MISSING", field="visit_type") from error
        if deposit_fen:
            split = use_deposit(split, deposit_fen)
        return Judged(split, notice if split.cash_fen else None, policy)


def _insured(card: CardContext, covered: Covered) -> Insured:
    return Insured(
        plan=covered.plan,
        person=Person(
            status=covered.status,
            born_on=covered.born_on,
            retired_on=covered.retired_on,
            at_work_by=covered.at_work_by,
        ),
        balances={
            "current_year": card.current_year_available_fen,
            "carried_over": card.carried_over_available_fen,
        },
        counters=covered.counters,
    )
