"""``settlement-terminal quote``: who would pay what. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click
import msgspec

from terminal_sdk.cli.cards import chosen_reader
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.gathering import gathered_bill
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import (
    bill_options,
    consent_option,
    home_option,
    json_option,
    reader_options,
    remainder_option,
)
from terminal_sdk.cli.outcomes import quote_lines
from terminal_sdk.cli.speaking import json_text
from terminal_sdk.cli.till import open_till
from terminal_sdk.wire import Consent, Remainder


@click.command(
    cls=TillCommand,
    short_help="Show who would pay what of a bill.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.USAGE,
        Exit.CARD,
        Exit.REFUSED,
        Exit.UNREACHABLE,
        Exit.SIGN_IN_REFUSED,
        Exit.JOURNAL,
        Exit.HOME,
        Exit.FAILURE,
    ),
)
@home_option
@bill_options
@reader_options
@remainder_option
@consent_option
@json_option
def quote(
    home: Home,
    bill_file: IO[str] | None,
    lines: tuple[str, ...],
    visit_no: str | None,
    card_file: Path | None,
    reader: str | None,
    interface: str,
    remainder: Remainder | None,
    consent: Consent | None,
    as_json: bool,
) -> None:
    """Ask who would pay what of this bill with this card 试算. Changes nothing and is no promise to pay."""
    from terminal_sdk.card import CardSession

    settings = home.settings()
    counter = settings.counter()
    bill = gathered_bill(bill_file, lines, visit_no, counter.visit_type)
    device = chosen_reader(card_file, reader, interface, settings.reader)
    with open_till(home) as till, CardSession(device) as card:
        who_pays_rest = remainder or counter.remainder
        offer = till.run(till.terminal.quote(card=card, remainder=who_pays_rest, consent=consent, **bill))
    if as_json:
        click.echo(json_text(msgspec.to_builtins(offer)))
    else:
        click.echo("\n".join(quote_lines(offer, bill["visit_no"])))
