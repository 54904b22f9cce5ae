"""A bill judged for its settlement, by the person's plan, the catalog and the counters; and what a refund gives."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from settlement.ledger.records import CounterMove, LineFacts, LineShare, PolicyRecord, RefundFacts
from settlement.policy.book import Judgement, PlanBook
from settlement.policy.catalog import Catalog, ceiling_of
from settlement.policy.evaluate import Outcome, Part, RemainderPayer, evaluate, judge_line
from settlement.policy.plan import ACCOUNTS, FUNDS, Person
from settlement.policy.split import use_deposit
from terminal_sdk.wire import FeeLine, PlanUsed, RefundLine, Split, SplitPart, StayLine

_PAYERS = (*FUNDS, *ACCOUNTS, "bank", "cash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Insured:
    """The person of a bill. ``balances``: fen by account · ``counters``: fen by insurance year and counter."""

    plan: str
    person: Person
    balances: Mapping[str, int]
    counters: Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class StayRef:
    """An inpatient stay and the day on which it began."""

    stay_id: uuid.UUID
    admitted_on: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What is judged. ``level``: of the institution · ``items``: the catalog's word on the bill's items · ``stay``: of
    which inpatient stay, if it is one's.
    """

    lines: Sequence[FeeLine]
    service_date: dt.date
    visit_type: str
    level: int
    items: Catalog
    remainder: RemainderPayer
    stay: StayRef | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a refund gives back, in fen. ``shares``: of which line to whom, below zero where a kept line pays more ·
    ``counters``: what is taken off them · ``own_expense_fen``: the class C share.
    """

    shares: list[LineShare]
    counters: list[CounterMove]
    own_expense_fen: int


def judge(bill: Bill, insured: Insured, book: PlanBook) -> tuple[Split, list[PolicyRecord]]:
    """Who pays what of a bill, by the plan of its service date: of a stay's line, of the day of that service.

    A stay that spans the end of an insurance year or of a plan version is judged piece by piece, in the order of the
    days; in each the person counts as what the person is on its last day. Raises ``NoPlan``.
    """
    pieces = [bill.lines] if bill.stay is None else _pieces(bill, insured.plan, book)
    charge = _charge([_judgement(bill, lines, insured, book) for lines in pieces], bill.remainder)
    return charge.split(), charge.records


def _pieces(bill: Bill, plan_code: str, book: PlanBook) -> list[Sequence[FeeLine]]:
    """The lines of a stay by plan version and insurance year, in the order of their days."""
    pieces: dict[tuple[str, int], list[FeeLine]] = {}
    places: dict[dt.date, tuple[str, int]] = {}
    for line in sorted(bill.lines, key=lambda line: _day(line, bill)):
        day = _day(line, bill)
        if day not in places:
            plan = book.plan(plan_code, day)
            places[day] = (plan.version, plan.insurance_year(day))
        pieces.setdefault(places[day], []).append(line)
    return list(pieces.values())


def _judgement(
    bill: Bill, lines: Sequence[FeeLine], insured: Insured, book: PlanBook
) -> tuple[Judgement, PolicyRecord]:
    """By what lines of one plan version and year are judged, and the record of it before it is done."""
    last = _day(lines[-1], bill)
    found = book.judgement(insured.plan, last, insured.person, bill.visit_type, bill.level)
    year = found.plan.insurance_year(last)
    counter, counter_year = None if found.rule.counts is None else f"covered/{found.rule.counts}", year
    if counter is not None and found.rule.scope == "stay" and bill.stay is not None:
        counter, admitted_on = f"{counter}/{bill.stay.stay_id}", bill.stay.admitted_on
        counter_year = book.plan(insured.plan, admitted_on).insurance_year(admitted_on)
    counted = {fund: fen for fund in FUNDS if (fen := insured.counters.get(year, {}).get(fund, 0))}
    if counter is not None and (fen := insured.counters.get(counter_year, {}).get(counter, 0)):
        counted[counter] = fen
    return found, PolicyRecord(
        plan=found.plan.code,
        version=found.plan.version,
        insurance_year=year,
        group=found.group.code,
        rule=found.rule.name,
        visit_type=bill.visit_type,
        level=bill.level,
        lines=[_facts(line, bill, found.plan.lines.default_share) for line in lines],
        counter=counter,
        counter_year=counter_year,
        balances={account: fen for account, fen in insured.balances.items() if fen > 0},
        counted=counted,
        moved=[],
    )


def _day(line: FeeLine, bill: Bill) -> dt.date:
    return line.service_date if isinstance(line, StayLine) else bill.service_date


def moves_of(records: Sequence[PolicyRecord]) -> list[CounterMove]:
    """What a bill adds to counters in all, each counter once: the pieces of a stay may move the same one."""
    return _less([move for record in records for move in record.moved], ())


def plan_used(record: PolicyRecord) -> PlanUsed:
    """By what a bill was judged, as it is told."""
    return PlanUsed(
        plan=record.plan,
        version=record.version,
        insurance_year=record.insurance_year,
        group=record.group,
        rule=record.rule,
    )


def judge_refund(facts: RefundFacts, wanted: Sequence[RefundLine], book: PlanBook) -> Kept:
    """What is given back when these lines, or these amounts of them, are: what stands paid now less what the lines that
    are kept cost under the same plan version and snapshot.

    Lines that the bill has not, and amounts above what is left, are left out: the ledger refuses them. Raises
    ``NoPlan``.
    """
    standing = {(share.line_no, share.payer): share.amount_fen for share in facts.shares}
    left: dict[int, int] = {}
    for (line_no, _), fen in standing.items():
        left[line_no] = left.get(line_no, 0) + fen
    kept = dict(left)
    for line in wanted:
        if line.line_no in kept:
            kept[line.line_no] = max(0, kept[line.line_no] - (line.amount_fen or kept[line.line_no]))
    remainder: RemainderPayer = "bank" if facts.bank_fen else "cash"
    judgements = [(_recorded(record, book), record) for record in facts.policy]
    before = _charge([(found, _cut(record, left)) for found, record in judgements], remainder)
    after = _charge([(found, _cut(record, kept)) for found, record in judgements], remainder)
    given = dict(standing)
    for part in use_deposit(after.split(), facts.deposit_fen).parts:
        place = (part.line_no, part.payer)
        given[place] = given.get(place, 0) - part.amount_fen
    return Kept(
        shares=[
            LineShare(line_no=line_no, payer=payer, amount_fen=fen)
            for (line_no, payer), fen in sorted(given.items())
            if fen
        ],
        counters=_less(facts.moved, moves_of(after.records)),
        own_expense_fen=before.own_expense_fen - after.own_expense_fen,
    )


def _cut(record: PolicyRecord, kept: Mapping[int, int]) -> PolicyRecord:
    """A record of the lines that are kept, each with what is kept of it."""
    lines = [part_of_line(line, kept[line.line_no]) for line in record.lines if kept.get(line.line_no)]
    return msgspec.structs.replace(record, lines=lines)


def _less(moves: Sequence[CounterMove], others: Sequence[CounterMove]) -> list[CounterMove]:
    sums: dict[tuple[str, int, str], int] = {}
    for sign, group in ((1, moves), (-1, others)):
        for move in group:
            place = (move.plan, move.insurance_year, move.counter)
            sums[place] = sums.get(place, 0) + sign * move.fen
    return [
        CounterMove(plan=plan, insurance_year=year, counter=counter, fen=fen)
        for (plan, year, counter), fen in sums.items()
        if fen
    ]


def part_of_line(line: LineFacts, amount_fen: int) -> LineFacts:
    """A line of which only this much is kept: what is recognised of it shrinks with it, rounded half a fen up."""
    if amount_fen == line.amount_fen:
        return line
    ceiling = None
    if line.ceiling_fen is not None:
        ceiling = (2 * line.ceiling_fen * amount_fen + line.amount_fen) // (2 * line.amount_fen)
    return LineFacts(
        line_no=line.line_no, amount_fen=amount_fen, category=line.category, share=line.share, ceiling_fen=ceiling
    )


@dataclass(frozen=True, slots=True)
class _Charge:
    """What a bill costs whom; ``records`` say what it was judged by, one after the other."""

    parts: list[Part]
    own_expense_fen: int
    records: list[PolicyRecord]

    def split(self) -> Split:
        paid = dict.fromkeys(_PAYERS, 0)
        for part in self.parts:
            paid[part.payer] += part.amount_fen
        return Split(
            total_fen=sum(paid.values()),
            own_expense_fen=self.own_expense_fen,
            **{f"{payer}_fen": fen for payer, fen in paid.items()},
            parts=msgspec.convert(self.parts, list[SplitPart], from_attributes=True),
        )


def _charge(judgements: Sequence[tuple[Judgement, PolicyRecord]], remainder: RemainderPayer) -> _Charge:
    """Judge the lines of each record in turn; what one takes from accounts and adds to counters, the next finds so."""
    parts: list[Part] = []
    records: list[PolicyRecord] = []
    own_expense = 0
    balances = dict(judgements[0][1].balances)
    moves: list[CounterMove] = []
    for found, record in judgements:
        counted = dict(record.counted) if not moves else _with(record, moves)
        judged = [
            judge_line(line.line_no, line.category, line.amount_fen, share=line.share, ceiling_fen=line.ceiling_fen)
            for line in record.lines
        ]
        before = {fund: counted.get(fund, 0) for fund in FUNDS}
        before["covered"] = 0 if record.counter is None else counted.get(record.counter, 0)
        outcome = evaluate(found.rule, found.plan.lines, judged, balances=balances, counted=before, remainder=remainder)
        moved = _moved(record, outcome)
        parts += outcome.parts
        own_expense += sum(line.own_expense_fen for line in judged)
        records.append(msgspec.structs.replace(record, balances=balances, moved=moved))
        moves += moved
        balances = {account: fen - outcome.paid.get(account, 0) for account, fen in balances.items()}
    return _Charge(parts, own_expense, records)


def _with(record: PolicyRecord, moves: Sequence[CounterMove]) -> dict[str, int]:
    """The counters of a record after the moves of earlier records of the same bill."""
    counted = dict(record.counted)
    for move in moves:
        year = record.counter_year if move.counter == record.counter else record.insurance_year
        if (move.plan, move.insurance_year) == (record.plan, year):
            counted[move.counter] = counted.get(move.counter, 0) + move.fen
    return counted


def _moved(record: PolicyRecord, outcome: Outcome) -> list[CounterMove]:
    """What the lines add to counters, by the names under which they are stored: funds count over all visits of the
    year, what is covered for visits of its kind, or for its stay.
    """
    moves = []
    for name, fen in outcome.counted.items():
        counter, year = (record.counter, record.counter_year) if name == "covered" else (name, record.insurance_year)
        if fen and counter is not None:
            moves.append(CounterMove(plan=record.plan, insurance_year=year, counter=counter, fen=fen))
    return moves


def _facts(line: FeeLine, bill: Bill, default_share: int) -> LineFacts:
    item = bill.items.find(line.item_code, _day(line, bill))
    category = line.category if item is None else item.category
    share = default_share if item is None else item.share
    return LineFacts(
        line_no=line.line_no,
        amount_fen=line.amount_fen,
        category=category,
        share=share if category == "B" else 0,
        ceiling_fen=None if item is None else ceiling_of(item, line.quantity),
    )


def _recorded(policy: PolicyRecord, book: PlanBook) -> Judgement:
    """The very plan version, group and rule by which a bill was judged. Raises ``NoPlan``."""
    return book.recorded(policy.plan, policy.version, policy.group, policy.visit_type, policy.level)
