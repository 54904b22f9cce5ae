"""``settlement cards``: persons and cards, for operators and for trials. Numbers are shown masked."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import msgspec

from settlement.businessdate import business_date
from settlement.cards.issuing import issue_virtual
from settlement.cards.model import Account, CardDescription, Coverage, Function, Status
from settlement.cards.registry import LIST_MAX
from settlement.cli.cards_support import (
    card_parameter,
    check_bank,
    check_plan,
    day_parameter,
    new_private_file,
    run,
    yuan_parameter,
)
from settlement.cli.cards_view import coverage_text, text, yuan
from terminal_sdk.card.image import CardImage

if TYPE_CHECKING:
    from settlement.bootstrap import Base

CARD = click.argument("card", type=card_parameter, metavar="CARD")
FUNCTION = click.option(
    "--function", type=click.Choice(["social", "financial"]), required=True, help="Which of the card's two functions."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line.")
NAME = click.option("--name", prompt="Name", help="The person's name; asked for if not given.")
ID_NUMBER = click.option(
    "--id-number", prompt="ID number", hide_input=True, help="The 18-character ID number; asked for if not given."
)


@click.group()
def cards() -> None:
    """Persons and their social security cards.

    CARD is a card number, or the file of a virtual card. Names and numbers are stored encrypted and shown masked.
    """


@cards.command("add-person")
@NAME
@ID_NUMBER
@click.pass_context
def add_person(ctx: click.Context, name: str, id_number: str) -> None:
    """Register a person and open the insurance accounts. The same ID number gives the same person."""
    person_id = run(ctx, lambda base: base.cards.register_person(name, id_number))
    click.echo(f"person {person_id}")


@cards.command()
@NAME
@ID_NUMBER
@click.option("--bank", metavar="CODE", help="A third-generation card with an account at this bank.")
@click.option("--legacy", is_flag=True, help="A legacy card instead: insurance only, no key.")
@click.option("--pan", help="The account number at the bank; made up if not given.")
@click.option("--activate", type=click.Choice(["social", "financial"]), help="Activate at once; voids the old card.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to make.")
@click.pass_context
def issue(
    ctx: click.Context,
    name: str,
    id_number: str,
    bank: str | None,
    legacy: bool,
    pan: str | None,
    activate: Function | None,
    out: Path,
) -> None:
    """Make a virtual card for trials: person, registered card, and a file that a virtual reader takes.

    The file holds the card's private key and personal data; only its owner can read it.
    """
    if (bank is None) != legacy:
        raise click.UsageError("give either --bank CODE or --legacy")

    async def make(base: Base) -> CardImage:
        check_bank(base, bank)
        return await issue_virtual(
            base.cards,
            base.authorities.card,
            base.keys,
            name=name,
            id_number=id_number,
            kind="legacy" if legacy else "third_generation",
            bank_code=bank,
            pan=pan,
            activate=activate,
        )

    with new_private_file(out) as write:
        image = run(ctx, make)
        write(image.to_json())
    click.echo(f"{image.kind} card in {out}" + (f", {activate} function active" if activate else ", not activated"))


@cards.command()
@CARD
@FUNCTION
@click.pass_context
def activate(ctx: click.Context, card: str, function: Function) -> None:
    """Activate a function; financial activates social with it. The person's old card is void from then on."""
    run(ctx, lambda base: _activate(base, card, function))
    click.echo(f"{function} function active")


@cards.command()
@CARD
@FUNCTION
@click.pass_context
def freeze(ctx: click.Context, card: str, function: Function) -> None:
    """Freeze an active function. A frozen financial function never stops the insurance part."""
    run(ctx, lambda base: base.cards.freeze(card, function))
    click.echo(f"{function} function frozen")


@cards.command()
@CARD
@FUNCTION
@click.pass_context
def unfreeze(ctx: click.Context, card: str, function: Function) -> None:
    """Make a frozen function active again."""
    run(ctx, lambda base: base.cards.unfreeze(card, function))
    click.echo(f"{function} function active")


@cards.command()
@CARD
@click.pass_context
def lost(ctx: click.Context, card: str) -> None:
    """Report a card lost; it is refused from now on."""
    run(ctx, lambda base: base.cards.report_lost(card))
    click.echo("card reported lost")


@cards.command()
@CARD
@click.confirmation_option(prompt="A void card never works again. Void it?")
@click.pass_context
def void(ctx: click.Context, card: str) -> None:
    """Void a card for good."""
    run(ctx, lambda base: base.cards.void(card))
    click.echo("card void")


@cards.command()
@CARD
@click.confirmation_option(prompt="The card must be replaced afterwards. Revoke its certificate?")
@click.pass_context
def revoke(ctx: click.Context, card: str) -> None:
    """Revoke a card's certificate for good."""
    run(ctx, lambda base: base.cards.revoke_certificate(card))
    click.echo("certificate revoked")


@cards.command()
@CARD
@AS_JSON
@click.pass_context
def show(ctx: click.Context, card: str, as_json: bool) -> None:
    """Show a card, its person's coverage and insurance accounts, and its history; names and numbers masked."""

    async def look(base: Base) -> tuple[CardDescription, tuple[Coverage, ...]]:
        return await base.cards.describe(card), await base.cards.coverages(card)

    found, coverages = run(ctx, look)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(found) | {"coverages": coverages}).decode())
    else:
        click.echo(text(found, coverages))


@cards.command("list")
@click.option("--limit", type=click.IntRange(1, LIST_MAX), default=100, show_default=True, help="Cards at most.")
@click.option("--after", type=(int, int), default=(0, 0), metavar="PERSON CARD", help="Go on after this card.")
@AS_JSON
@click.pass_context
def list_cards(ctx: click.Context, limit: int, after: tuple[int, int], as_json: bool) -> None:
    """List cards by person, numbers masked."""
    found = run(ctx, lambda base: base.cards.list(after=after, limit=limit))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for card in found:
        click.echo(
            f"{card.person_id:>8} {card.card_id:>8}  {card.card_number}  {card.kind:<16}  {card.life:<6}  "
            f"social {card.social:<8}  financial {card.financial:<8}  {card.bank_code or '-'}"
        )


@cards.command()
@CARD
@click.option("--account", type=click.Choice(["current-year", "carried-over"]), required=True, help="Which account.")
@click.option(
    "--yuan", "amount_fen", type=yuan_parameter, metavar="YUAN", required=True, help="How much, such as 1200 or 35.50."
)
@click.option("--reason", required=True, help="Kept with the booking; no names or numbers of people.")
@click.option("--credit-id", type=click.UUID, help="The booking's own id: the same id books once. New if not given.")
@click.pass_context
def credit(
    ctx: click.Context, card: str, account: str, amount_fen: int, reason: str, credit_id: uuid.UUID | None
) -> None:
    """Put money on an insurance account of the card's person."""
    booking = credit_id or uuid.uuid4()
    account_name: Account = "current_year" if account == "current-year" else "carried_over"

    async def book(base: Base) -> bool:
        posting_date = business_date(base.clock.now(), base.settings.cut_over)
        return await base.cards.credit(card, account_name, amount_fen, booking, reason, posting_date=posting_date)

    booked = run(ctx, book)
    click.echo(f"{'booked' if booked else 'booked before'}: {yuan(amount_fen)} yuan, credit id {booking}")


@cards.command()
@CARD
@click.option("--plan", metavar="PLAN", help="The plan's code, as `settlement policy check` lists it.")
@click.option("--status", type=click.Choice(get_args(Status)), help="As whom the person is insured.")
@click.option("--none", "nothing", is_flag=True, help="Instead: covered by no plan from that day on.")
@click.option("--from", "valid_from", type=day_parameter, metavar="DAY", required=True, help="From this day on.")
@click.option("--retired-on", type=day_parameter, metavar="DAY", help="When a retired person retired.")
@click.option("--at-work-by", type=day_parameter, metavar="DAY", help="When work began, where the plan asks for it.")
@click.pass_context
def cover(
    ctx: click.Context,
    card: str,
    plan: str | None,
    status: Status | None,
    nothing: bool,
    valid_from: dt.date,
    retired_on: dt.date | None,
    at_work_by: dt.date | None,
) -> None:
    """Note by which plan the card's person is covered from a day on, until the next such day.

    Days are written as 2019-07-01. The same again changes nothing; another word for the same day takes its place, and
    the first stays on record.
    """
    if nothing == (plan is not None) or (plan is None) != (status is None):
        raise click.UsageError("give either --plan and --status, or --none")
    if plan is not None:
        check_plan(plan, valid_from)
    try:
        coverage = Coverage(
            valid_from=valid_from, plan=plan, status=status, retired_on=retired_on, at_work_by=at_work_by
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    noted = run(ctx, lambda base: base.cards.cover(card, coverage))
    click.echo(f"{'noted' if noted else 'noted before'}: {coverage_text(coverage)}")


async def _activate(base: Base, card: str, function: Function) -> None:
    await (base.cards.activate_social if function == "social" else base.cards.activate_financial)(card)
