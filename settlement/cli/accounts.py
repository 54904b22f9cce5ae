"""`settlement accounts`: the turn of the insurance year, for all persons of an installation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settlement.cards.credit_file import CreditFile, CreditsRefused, read_credits
from settlement.cards.year_turn import YearRefused, YearTurn
from settlement.cli.cards_view import yuan
from settlement.cli.operating import operate
from settlement.cli.progress import bar
from settlement.db.outages import OUTAGES, reason

if TYPE_CHECKING:
    import datetime as dt

    from settlement.bootstrap import Base


class TurnBroken(Exception):
    """A run that did not come to its end; the message says why, and what to do."""


_REFUSALS = (CreditsRefused, YearRefused, TurnBroken)


@dataclass(frozen=True, slots=True)
class _Job:
    year: int
    file: CreditFile | None
    reason: str
    others: bool
    only_sweep: bool
    dry_run: bool


@click.group()
def accounts() -> None:
    """The insurance accounts of all persons."""


@accounts.command("open-year")
@click.argument("year", type=click.IntRange(2000, 2999))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--all", "others", is_flag=True, help="Also everybody who is not in FILE, with no credit.")
@click.option("--sweep", "only_sweep", is_flag=True, help="Open nobody's year; only carry over what came back late.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be done; change nothing.")
@click.pass_context
def open_year(ctx: click.Context, year: int, file: Path | None, others: bool, only_sweep: bool, dry_run: bool) -> None:
    """Turn the insurance year: carry over what is left on current-year accounts, and credit the new YEAR (年度结转).

    YEAR is named by the calendar year in which it begins. FILE is the insurer's CSV file of credits: its header is
    id_number,amount or card_number,amount, and amounts are yuan as 1200.00. It is checked as a whole first; where a
    line is wrong, nothing is changed.

    Each person's year is opened once. The same command again goes on where it was broken off, and changes nothing for
    those who are done. What bills of older years give back afterwards (holds released, refunds) is carried over by the
    next run, or by --sweep. The service may be at work meanwhile.

    Exit status 0: done; 1: refused, or broken off.
    """
    if only_sweep == (file is not None or others):
        raise click.UsageError("give FILE, --all or both; or --sweep alone")
    read, digest = (None, "") if file is None else _read(file)
    kept = f"insurance year {year}" + (f", file {digest[:16]}" if digest else "")
    job = _Job(year, read, kept, others, only_sweep, dry_run)
    operate(ctx, lambda base: _run(base, job), _REFUSALS)


def _read(file: Path) -> tuple[CreditFile, str]:
    """The file and its SHA-256, which is told."""
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise click.ClickException(f"{file.name}, line {line}: this is not UTF-8; save the file as UTF-8") from error
    with bar("reading", text.count("\n")) as advance:
        try:
            read = read_credits(text.splitlines(keepends=True), advance)
        except CreditsRefused as error:
            raise click.ClickException(f"{file.name} cannot be used\n{error}") from error
    total = sum(credit.amount_fen for credit in read.credits)
    click.echo(f"{file.name}: {len(read.credits)} persons, {yuan(total)} yuan, SHA-256 {digest}")
    return read, digest


async def _run(base: Base, job: _Job) -> None:
    async with base.pool.acquire() as connection:
        turn = YearTurn(connection, base.personal, base.clock, base.ids, base.settings.cut_over)
        try:
            async with turn.book.alone() as alone:
                if not alone:
                    raise TurnBroken("another run of this command is under way")
                started = base.clock.now()
                problems = [] if job.only_sweep else await _open(turn, job)
                await _sweep(turn, job, started)
        except OUTAGES as error:
            raise TurnBroken(f"broken off: {reason(error)}; give the same command again, it goes on there") from error
    if problems:
        raise CreditsRefused(problems)


async def _open(turn: YearTurn, job: _Job) -> list[str]:
    """Open the year; returns the lines of those whom somebody else opened with another credit meanwhile."""
    with bar("checking", len(job.file.credits) if job.file else 0) as advance:
        planned = await turn.prepare(job.year, _newest(turn.today()), job.file, others=job.others, advance=advance)
    done_before = f"({planned.known} of the file were done before)"
    if job.dry_run:
        persons = f"{len(planned.openings)} persons of the file and {planned.others} others"
        amounts = f"{yuan(planned.rolled_fen)} yuan carried over, {yuan(planned.credited_fen)} yuan credited"
        click.echo(f"year {job.year} would be opened for {persons} {done_before}; {amounts}; nothing was written")
        return []
    with bar("persons", len(planned.openings) + planned.others) as advance:
        done = await turn.run(planned, job.reason, advance)
    persons = f"{done.of_file} persons of the file and {done.others} others"
    amounts = f"{yuan(done.rolled_fen)} yuan carried over, {yuan(done.credited_fen)} yuan credited"
    click.echo(f"year {job.year} opened for {persons} {done_before}; {amounts}")
    return done.problems


async def _sweep(turn: YearTurn, job: _Job, started: dt.datetime) -> None:
    with bar("late", await turn.book.count_opened(job.year, started)) as advance:
        done = await turn.sweep(job.year, started, try_only=job.dry_run, advance=advance)
    told = "would be carried over; nothing was written" if job.dry_run else "carried over"
    click.echo(f"come back late: {yuan(done.rolled_fen)} yuan of {done.persons} persons {told}")


def _newest(today: dt.date) -> int:
    """The newest insurance year that has begun by the plans in force, or else by the last ones there are."""
    from settlement.policy.book import PlanBook

    plans = PlanBook.load().plans
    last = max(plan.valid_from for plan in plans)
    in_force = [plan for plan in plans if plan.holds_on(today)] or [plan for plan in plans if plan.valid_from == last]
    return max(plan.insurance_year(today) for plan in in_force)
