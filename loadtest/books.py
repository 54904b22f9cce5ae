"""What the tills saw against what the ledger holds: every bill, and the sums of each kind, to the fen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from loadtest.visits import Visit
from settlement.db.queries import load_queries
from terminal_sdk import NotYetKnown, Settled
from terminal_sdk.wire import Split

SQL = load_queries("loadtest", "sql/books.sql")
PARTS = ("current_year", "carried_over", "bank", "cash")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be: which check, and what."""

    check: str
    text: str


@dataclass(frozen=True, slots=True)
class Sums:
    """Bills of one kind of outcome: how many, and fen by part."""

    bills: int
    fen: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides' sums by outcome (``settled``, ``reversed``), and what does not agree."""

    tills: Mapping[str, Sums]
    ledger: Mapping[str, Sums]
    findings: tuple[Finding, ...]


async def compare_with_ledger(pool: asyncpg.Pool, run: str, visits: Sequence[Visit]) -> Comparison:
    """Read the run's settlements and postings, and compare; see ``compare``. Changes nothing."""
    rows = [dict(row) for row in await pool.fetch(SQL["settlements_of_run"], run)]
    postings: dict[str, dict[str, int]] = defaultdict(dict)
    for row in await pool.fetch(SQL["postings_of_run"], run):
        postings[row["settlement_id"]][row["part"]] = row["amount_fen"]
    return compare(visits, rows, postings)


def compare(
    visits: Sequence[Visit], rows: Sequence[Mapping[str, Any]], postings: Mapping[str, Mapping[str, int]]
) -> Comparison:
    """Hold every bill as its till knows it against the ledger's row under its key, and the other way round.

    ``rows``: ``settlements_of_run``; ``postings``: fen by part, by settlement id. A bill that a till saw settled must
    stand there settled, with the same split, posted; one that it saw declined, refused or reversed must not stand; and
    nothing may stand that no till knows as settled. The sums by outcome must be equal.
    """
    by_key = {row["idempotency_key"]: row for row in rows}
    findings = [Finding("till_answers", f"{visit.key}: {problem}") for visit in visits for problem in visit.problems]
    for visit in visits:
        findings += _judge(visit, by_key.get(visit.key), postings)
    known = {visit.key for visit in visits}
    findings += [
        Finding("ledger_unknown_to_tills", f"{row['idempotency_key']}: no till sent it")
        for row in rows
        if row["idempotency_key"] not in known
    ]
    tills, ledger = _sums_of_tills(visits), _sums_of_ledger(rows)
    findings += [
        Finding("sums", f"{outcome}: the tills say {tills.get(outcome)}, the ledger {ledger.get(outcome)}")
        for outcome in sorted({*tills, *ledger})
        if tills.get(outcome) != ledger.get(outcome)
    ]
    return Comparison(tills, ledger, tuple(findings))


def shortened(findings: Iterable[Finding]) -> list[str]:
    """For people: at most twenty of each check, and how many more there are."""
    lines, seen = [], Counter[str]()
    for finding in findings:
        seen[finding.check] += 1
        if seen[finding.check] <= _SHOWN:
            lines.append(f"{finding.check}: {finding.text}")
    lines += [f"{check}: and {count - _SHOWN} more" for check, count in seen.items() if count > _SHOWN]
    return lines


def _judge(visit: Visit, row: Mapping[str, Any] | None, postings: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    stands = row is not None and row["decision"] == "forward" and not row["returned_fen"]
    if visit.outcome == "settled":
        return _judge_settled(visit, row, postings) if stands else [_differs(visit, row, "settled_in_ledger")]
    if visit.outcome == "reversed" and stands:
        return [_differs(visit, row, "reversed_in_ledger")]
    if isinstance(visit.result, NotYetKnown) or visit.result is None:
        # The till never heard the end. It may be either; only that nothing is open is asked, and that is verify's.
        return [_differs(visit, row, "outcome_unknown_to_till")] if stands else []
    return [_differs(visit, row, "not_charged")] if stands else []


def _judge_settled(
    visit: Visit, row: Mapping[str, Any] | None, postings: Mapping[str, Mapping[str, int]]
) -> list[Finding]:
    assert row is not None  # noqa: S101 - it stands
    assert isinstance(visit.result, Settled)  # noqa: S101 - so it is settled
    seen = _fen(visit.result.split)
    findings = []
    if row["settlement_id"] != visit.result.settlement_id or seen != {part: row[f"{part}_fen"] for part in PARTS}:
        findings.append(_differs(visit, row, "settled_in_ledger"))
    posted = postings.get(row["settlement_id"], {})
    if {part: amount for part, amount in seen.items() if amount} != dict(posted):
        findings.append(Finding("settled_is_posted", f"{visit.key}: the till saw {seen}, posted is {dict(posted)}"))
    return findings


def _differs(visit: Visit, row: Mapping[str, Any] | None, check: str) -> Finding:
    if row is None:
        return Finding(check, f"{visit.key}: {visit.outcome} at the till, not in the ledger")
    amounts = ", ".join(f"{part} {row[f'{part}_fen']}" for part in PARTS)
    return Finding(
        check,
        f"{visit.key}: {visit.outcome} at the till; in the ledger {row['decision']}, returned {row['returned_fen']}, "
        f"{amounts}",
    )


def _sums_of_tills(visits: Iterable[Visit]) -> dict[str, Sums]:
    groups: dict[str, list[dict[str, int]]] = defaultdict(list)
    for visit in visits:
        if isinstance(visit.result, Settled):  # what was taken back was settled before
            groups["reversed" if visit.taken_back else "settled"].append(_fen(visit.result.split))
    return {outcome: _summed(splits) for outcome, splits in groups.items()}


def _sums_of_ledger(rows: Iterable[Mapping[str, Any]]) -> dict[str, Sums]:
    groups: dict[str, list[dict[str, int]]] = defaultdict(list)
    for row in rows:
        if row["decision"] == "forward":
            groups["reversed" if row["returned_fen"] else "settled"].append(
                {part: row[f"{part}_fen"] for part in PARTS}
            )
    return {outcome: _summed(splits) for outcome, splits in groups.items()}


def _summed(splits: Sequence[Mapping[str, int]]) -> Sums:
    return Sums(len(splits), {part: sum(split[part] for split in splits) for part in PARTS})


def _fen(split: Split) -> dict[str, int]:
    return {part: getattr(split, f"{part}_fen") for part in PARTS}
