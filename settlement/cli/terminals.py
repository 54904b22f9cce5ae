"""``settlement terminals``: institutions, their terminals, and the one-time codes that enrol them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from settlement.cli.operating import operate
from settlement.terminals.administration import CODE_TRIES, KINDS
from settlement.terminals.model import AdministrationError, TerminalEntry, TerminalEvent

if TYPE_CHECKING:
    from settlement.bootstrap import Base

T = TypeVar("T")

TERMINAL = click.argument("terminal_id", metavar="TERMINAL")
INSTITUTION_OR_TERMINAL = click.argument("which", metavar="TERMINAL|INSTITUTION")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line.")
_INSTITUTION_ID_LENGTH = 12


@click.group()
def terminals() -> None:
    """Institutions and their terminals.

    TERMINAL is a terminal id (8 characters), INSTITUTION the national code of a hospital or pharmacy (12 characters).
    """


@terminals.command("add-institution")
@click.argument("institution_id", metavar="INSTITUTION")
@click.option("--name", required=True, help="As printed on receipts.")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it is.")
@click.option("--level", type=click.IntRange(1, 3), default=1, show_default=True, help="Its level of care.")
@AS_JSON
@click.pass_context
def add_institution(ctx: click.Context, institution_id: str, name: str, kind: str, level: int, as_json: bool) -> None:
    """Register a hospital or pharmacy. The same again changes nothing."""
    added = run(ctx, lambda base: base.terminals.add_institution(institution_id, name, kind, level))
    _tell(as_json, {"institution_id": institution_id, "added": added}, "added" if added else "was registered before")


@terminals.command()
@TERMINAL
@click.option("--institution", required=True, metavar="INSTITUTION", help="Where the terminal stands.")
@AS_JSON
@click.pass_context
def add(ctx: click.Context, terminal_id: str, institution: str, as_json: bool) -> None:
    """Register a terminal and print its one-time enrolment code; for a known terminal, a new code.

    The code is shown here and nowhere else. Type it into the terminal, which then enrols by itself. A terminal that was
    enrolled goes on working until the new code is used.
    """
    issued = run(ctx, lambda base: base.terminals.register(terminal_id, institution))
    if as_json:
        _print_json(issued)
        return
    click.echo(f"terminal         {terminal_id} of {institution}" + (" (known before)" if issued.renewed else ""))
    click.echo(f"enrolment code   {issued.code}")
    click.echo(f"valid until      {issued.expires_at:%Y-%m-%d %H:%M:%SZ}, once, {CODE_TRIES} tries")


@terminals.command("list")
@click.option("--institution", metavar="INSTITUTION", help="Only the terminals of this one.")
@click.option("--institutions", is_flag=True, help="List the institutions instead.")
@AS_JSON
@click.pass_context
def list_terminals(ctx: click.Context, institution: str | None, institutions: bool, as_json: bool) -> None:
    """List terminals, or institutions."""
    if institutions:
        houses = run(ctx, lambda base: base.terminals.institutions())
        if as_json:
            _print_json(houses)
            return
        _table(
            ("institution", "kind", "level", "state", "terminals", "name"),
            ((each.institution_id, each.kind, each.level, each.state, each.terminals, each.name) for each in houses),
        )
        return
    entries = run(ctx, lambda base: base.terminals.terminals(institution))
    if as_json:
        _print_json(entries)
        return
    _table(
        ("terminal", "institution", "state", "sessions", "certificate until", "name of institution"),
        (
            (each.terminal_id, each.institution_id, _state(each), each.sessions, _day(each), each.institution_name)
            for each in entries
        ),
    )


@terminals.command()
@TERMINAL
@AS_JSON
@click.pass_context
def show(ctx: click.Context, terminal_id: str, as_json: bool) -> None:
    """Show a terminal and its history."""
    entry, events = run(ctx, lambda base: base.terminals.show(terminal_id))
    if as_json:
        _print_json({"terminal": entry, "events": events})
        return
    for label, value in _details(entry, events):
        click.echo(f"{label:<14} {value}")


@terminals.command()
@INSTITUTION_OR_TERMINAL
@click.option("--reason", required=True, help="Kept in the history.")
@AS_JSON
@click.pass_context
def suspend(ctx: click.Context, which: str, reason: str, as_json: bool) -> None:
    """Stop a terminal, or all terminals of an institution. Their very next request is refused."""

    async def stop(base: Base) -> bool:
        if len(which) == _INSTITUTION_ID_LENGTH:
            return await base.terminals.suspend_institution(which, reason)
        return await base.terminals.suspend(which, reason)

    changed = run(ctx, stop)
    _tell(as_json, {"suspended": which, "changed": changed}, "suspended" if changed else "was suspended before")


@terminals.command()
@INSTITUTION_OR_TERMINAL
@AS_JSON
@click.pass_context
def resume(ctx: click.Context, which: str, as_json: bool) -> None:
    """Let a suspended terminal sign in again, or admit an institution's terminals."""

    async def admit(base: Base) -> bool:
        if len(which) == _INSTITUTION_ID_LENGTH:
            return await base.terminals.resume_institution(which)
        return await base.terminals.resume(which)

    changed = run(ctx, admit)
    _tell(as_json, {"resumed": which, "changed": changed}, "resumed" if changed else "was not suspended")


def run(ctx: click.Context, action: Callable[[Base], Awaitable[T]]) -> T:
    """Do one thing with the installation's terminals; see ``operate``."""
    return operate(ctx, action, (AdministrationError,))


def _tell(as_json: bool, value: object, words: str) -> None:
    if as_json:
        _print_json(value)
    else:
        click.echo(words)


def _print_json(value: object) -> None:
    click.echo(msgspec.json.encode(value))


def _table(titles: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Columns as wide as their widest value; the last one, a name, is not padded."""
    cells = [titles, *(tuple(str(value) for value in row) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(titles) - 1)]
    for row in cells:
        padded = [f"{value:<{width}}" for value, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*padded, row[-1]]))


def _state(entry: TerminalEntry) -> str:
    return "suspended*" if entry.institution_state == "suspended" and entry.state != "suspended" else entry.state


def _day(entry: TerminalEntry) -> str:
    return "–" if entry.certificate_not_after is None else f"{entry.certificate_not_after:%Y-%m-%d}"


def _details(entry: TerminalEntry, events: tuple[TerminalEvent, ...]) -> list[tuple[str, str]]:
    house = (
        f"{entry.institution_id}  {entry.institution_name} ({entry.institution_kind}, level {entry.institution_level})"
    )
    rows = [("terminal", entry.terminal_id), ("institution", house), ("state", entry.state)]
    if entry.institution_state == "suspended":
        rows.append(("", "its institution is suspended"))
    if entry.suspend_reason:
        rows.append(("reason", entry.suspend_reason))
    if entry.certificate_fingerprint:
        rows.append(("certificate", f"{entry.certificate_fingerprint[:16]}…, until {_day(entry)}"))
    rows.append(("sessions", str(entry.sessions)))
    if entry.enrolment_expires_at:
        until = f"{entry.enrolment_expires_at:%Y-%m-%d %H:%M:%SZ}"
        rows.append(("open code", f"until {until}, {entry.enrolment_tries_left} tries left"))
    for place, event in enumerate(events):
        detail = f" ({event.detail[:32]})" if event.detail else ""
        rows.append(("" if place else "history", f"{event.happened_at:%Y-%m-%d %H:%M:%SZ}  {event.event}{detail}"))
    return rows
