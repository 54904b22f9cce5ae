"""One bill judged and explained, from a description of it: what a policy officer tries a plan out with."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from msgspec import Meta, Struct

from settlement.policy.book import Judgement, PlanBook
from settlement.policy.catalog import Catalog, ceiling_of
from settlement.policy.evaluate import JudgedLine, Outcome, RemainderPayer, evaluate, judge_line
from settlement.policy.plan import Person, Status, Visit

Yuan = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,11})\.[0-9]{2}\Z")]
"""Yuan with two decimals."""
Quantity = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,4})?\Z")]


class PersonFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See ``settlement.policy.plan.Person``."""

    status: Status
    born_on: dt.date
    retired_on: dt.date | None = None
    at_work_by: dt.date | None = None


class BillLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"category": "class"}):
    """A line. ``category`` (``class`` in the file) counts only where the catalog does not know the item."""

    line_no: Annotated[int, Meta(ge=1, le=100_000)]
    amount: Yuan
    category: Literal["A", "B", "C"] = "A"
    item_code: str = ""
    item_name: str = ""
    quantity: Quantity = "1"


class BillToExplain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bill. ``balances``: yuan by account · ``counted``: yuan by counter before this bill, ``covered`` and funds."""

    plan: str
    service_date: dt.date
    visit_type: Visit
    institution_level: Literal[1, 2, 3]
    person: PersonFacts
    lines: Annotated[list[BillLine], Meta(min_length=1, max_length=20_000)]
    balances: dict[Literal["current_year", "carried_over"], Yuan] = {}
    counted: dict[Literal["covered", "pooled_fund", "additional_fund"], Yuan] = {}
    remainder: RemainderPayer = "bank"


class Explanation(Struct, frozen=True, kw_only=True):
    """By what the bill was judged, its lines as they were taken apart, and who pays what."""

    judgement: Judgement
    insurance_year: int
    lines: list[JudgedLine]
    outcome: Outcome

    @property
    def total_fen(self) -> int:
        """The whole bill."""
        return sum(part.amount_fen for part in self.outcome.parts)


def explain(bill: BillToExplain, book: PlanBook, catalog: Catalog) -> Explanation:
    """Judge a bill by the plan of its service date. Raises ``NoPlan``, and ``ValueError`` for a line number twice."""
    day = bill.service_date
    judgement = book.judgement(bill.plan, day, person_of(bill), bill.visit_type, bill.institution_level)
    lines = judged_lines(bill, catalog, judgement.plan.lines.default_share)
    outcome = evaluate(
        judgement.rule,
        judgement.plan.lines,
        lines,
        balances={account: fen_of(yuan) for account, yuan in bill.balances.items()},
        counted={counter: fen_of(yuan) for counter, yuan in bill.counted.items()},
        remainder=bill.remainder,
    )
    year = judgement.plan.insurance_year(day)
    return Explanation(judgement=judgement, insurance_year=year, lines=lines, outcome=outcome)


def person_of(bill: BillToExplain) -> Person:
    """The person of a bill, as plans ask for it."""
    facts = bill.person
    return Person(status=facts.status, born_on=facts.born_on, retired_on=facts.retired_on, at_work_by=facts.at_work_by)


def judged_lines(bill: BillToExplain, catalog: Catalog, default_share: int) -> list[JudgedLine]:
    """The lines of a bill taken apart by the catalog of its service date. Raises ``ValueError`` for a number twice."""
    if len({line.line_no for line in bill.lines}) != len(bill.lines):
        raise ValueError("lines: a line_no stands there twice")
    return [_judged(line, catalog, bill.service_date, default_share) for line in bill.lines]


def fen_of(yuan: str) -> int:
    """Fen from yuan with two decimals."""
    whole, decimals = yuan.split(".")
    return int(whole) * 100 + int(decimals)


def yuan_of(fen: int) -> str:
    """Yuan with two decimals from fen."""
    return f"{fen // 100}.{fen % 100:02}"


def _judged(line: BillLine, catalog: Catalog, day: dt.date, default_share: int) -> JudgedLine:
    item = catalog.find(line.item_code, day) if line.item_code else None
    amount_fen = fen_of(line.amount)
    if item is None:
        return judge_line(line.line_no, line.category, amount_fen, share=default_share)
    ceiling = ceiling_of(item, line.quantity)
    return judge_line(line.line_no, item.category, amount_fen, share=item.share, ceiling_fen=ceiling)
