"""`settlement in-doubt`: the operator's list of cases that are not final, what becomes of them, what may be done."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from settlement.cli.cards_view import yuan
from settlement.cli.failures import told

if TYPE_CHECKING:
    from settlement.banks.directory import Directory
    from settlement.config import Settings
    from settlement.ledger.cases import OpenCase

OLD_EXIT = 2
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")


@dataclass(frozen=True, slots=True)
class Listing:
    """The cases of one look at the ledger. ``limit_s``: the age from which a case is old."""

    cases: list[OpenCase]
    directory: Directory
    now: dt.datetime
    limit_s: int

    @property
    def old(self) -> int:
        """How many cases are as old as the limit."""
        return sum(1 for case in self.cases if self._is_old(case))

    def lines(self) -> Iterable[str]:
        """For people; the last line counts."""
        for case in self.cases:
            yield from self._case_lines(case)
        banks = Counter(case.bank_code for case in self.cases)
        by_bank = ", ".join(f"{bank} {count}" for bank, count in sorted(banks.items()))
        total = yuan(sum(case.amount_fen for case in self.cases))
        where = f" ({by_bank}), {total} yuan" if self.cases else ""
        yield f"{len(self.cases)} cases in doubt{where}; {self.old} older than {span(self.limit_s)}"

    def as_json(self) -> str:
        """For machines, on one line; amounts in fen, moments in ISO 8601."""
        return json.dumps(
            {
                "cases": [self._as_data(case) for case in self.cases],
                "count": len(self.cases),
                "old": self.old,
                "limit_s": self.limit_s,
                "amount_fen": sum(case.amount_fen for case in self.cases),
            },
            ensure_ascii=False,
        )

    def _is_old(self, case: OpenCase) -> bool:
        return case.age_s(self.now) >= self.limit_s

    def _words(self, case: OpenCase) -> tuple[str, str]:
        from settlement.engine.cases import what_happens_next, what_to_do

        bank = self.directory.banks.get(case.bank_code)
        return what_happens_next(case, bank, self.now, _moment), what_to_do(case, bank, self._is_old(case))

    def _case_lines(self, case: OpenCase) -> Iterable[str]:
        next_step, advice = self._words(case)
        of = "" if case.kind == "settlement" else f" of {case.settlement_id}"
        decided = case.decision + (f" ({case.decision_cause})" if case.decision_cause else "")
        code = case.response_code or "none"
        mark = "  OLD" if self._is_old(case) else ""
        yield f"{case.kind} {case.saga_id}{of}{mark}"
        yield f"  where     {case.institution_id}  {case.terminal_id}  {case.bank_code}  {yuan(case.amount_fen)} yuan"
        yield f"  stands    {case.verb} {case.state}, decision {decided}, last {case.cause}, code {code}"
        yield f"  age       {span(case.age_s(self.now))}, attempts {case.attempts}, next {self._next(case)}"
        yield f"  then      {next_step}"
        yield f"  you       {advice}"

    def _next(self, case: OpenCase) -> str:
        left_s = int((case.next_attempt_at - self.now).total_seconds())
        return f"{_moment(case.next_attempt_at)} ({f'in {span(left_s)}' if left_s > 0 else 'due now'})"

    def _as_data(self, case: OpenCase) -> dict[str, Any]:
        next_step, advice = self._words(case)
        facts = {name: getattr(case, name) for name in type(case).__slots__}
        shown = {name: _plain(value) for name, value in facts.items()}
        return {**shown, "age_s": case.age_s(self.now), "old": self._is_old(case), "next": next_step, "advice": advice}


def duration_s(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Seconds of a span such as 90s, 5m, 2h or 1d."""
    if value is None:
        return None
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter("expected a span such as 90s, 5m, 2h or 1d", ctx, parameter)
    return int(match[1]) * _UNITS[match[2] or "s"]


@click.command("in-doubt")
@click.option(
    "--older-than",
    "older_than_s",
    metavar="SPAN",
    callback=duration_s,
    help="Only cases as old as this: 90s, 5m, 2h, 1d.",
)
@click.option("--bank", metavar="CODE", help="Only cases of this bank's link.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line.")
def in_doubt(older_than_s: int | None, bank: str | None, as_json: bool) -> None:
    """List the settlements and reversals whose bank leg is not final: what stands, what comes next, what you may do.

    Reads only. Exit status 0: no case is as old as the limit, which is --older-than or else the setting
    in_doubt_alarm_s; 2: some are; 1: could not look.
    """
    import asyncpg

    from settlement.bootstrap import bank_directory
    from settlement.clock import SystemClock
    from settlement.config import load_settings
    from settlement.db.server import database_server

    with told():
        settings = load_settings(os.environ)
        directory = bank_directory(settings)
        now = SystemClock().now()
        with database_server(settings) as running:
            try:
                cases = asyncio.run(_read(running, now - dt.timedelta(seconds=older_than_s or 0), bank))
            except asyncpg.UndefinedTableError:
                raise click.ClickException("the database is not up to date; `settlement init` makes it so") from None
    limit_s = settings.in_doubt_alarm_s if older_than_s is None else older_than_s
    listing = Listing(cases, directory, now, limit_s)
    click.echo(listing.as_json() if as_json else "\n".join(listing.lines()))
    if listing.old:
        raise SystemExit(OLD_EXIT)


async def _read(settings: Settings, began_before: dt.datetime, bank: str | None) -> list[OpenCase]:
    from settlement.db.pool import create_pool
    from settlement.ledger.cases import read_open_cases

    pool = await create_pool(settings)
    try:
        return await read_open_cases(pool, began_before, bank)
    finally:
        await pool.close()


def span(seconds: int) -> str:
    """A span in its two largest units: 45 s, 2 min 31 s, 3 h 5 min, 2 d 1 h."""
    names = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for place, (name, size) in enumerate(names):
        if seconds >= size or name == "s":
            whole, rest = divmod(max(0, seconds), size)
            smaller = names[place + 1] if place + 1 < len(names) else None
            return f"{whole} {name}" + (f" {rest // smaller[1]} {smaller[0]}" if smaller and rest // smaller[1] else "")
    raise AssertionError  # the loop always returns at "s"


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, int | str) or value is None else str(value)
