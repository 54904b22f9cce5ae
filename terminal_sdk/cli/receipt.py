"""``settlement-terminal receipt``: print a receipt again."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

import click
import msgspec

from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import home_option, json_option, print_options
from terminal_sdk.cli.printing import Paper, dressed, print_receipt
from terminal_sdk.cli.speaking import json_text, say, screen_is_lost
from terminal_sdk.cli.targets import last_key
from terminal_sdk.cli.till import Till, open_till
from terminal_sdk.errors import JournalError
from terminal_sdk.wire import Receipt


@click.command(
    cls=TillCommand,
    short_help="Print a receipt again.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.USAGE,
        Exit.REFUSED,
        Exit.UNREACHABLE,
        Exit.SIGN_IN_REFUSED,
        Exit.JOURNAL,
        Exit.HOME,
        Exit.PRINTING,
        Exit.FAILURE,
    ),
)
@click.argument("receipt_id", metavar="[ID]", required=False)
@home_option
@click.option("--last", is_flag=True, help="The newest bill in this till's journal.")
@print_options
@click.option("--plain", is_flag=True, help="Only the service's text, without this counter's lines.")
@json_option
def receipt(
    receipt_id: str | None,
    home: Home,
    last: bool,
    printer: Path | None,
    pdf: Path | None,
    font: Path | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Print the receipt of a paid bill, or of a reversal, again 补打. ID: its number, or the settlement's.

    It is marked as a reprint. There is one for each bill that was paid and each reversal that is complete.
    """
    if (receipt_id is None) != last:
        raise click.UsageError("say which receipt: its ID, or --last")
    with open_till(home) as till:
        wanted = receipt_id or _last_id(till)
        found = till.run(till.terminal.receipt(wanted))
        paper = Paper.of(till.settings, printer, pdf, font)
        shown = found if plain else dressed(found, paper, reprint=True)
        print_receipt(shown, paper, screen=not as_json)
        if as_json:
            say(json_text(msgspec.to_builtins(shown)))
        if printer or pdf or not screen_is_lost():
            _mark(till, found)


def _mark(till: Till, found: Receipt) -> None:
    """Whoever prints it again has handed it out, whatever became of it the first time."""
    with contextlib.suppress(JournalError):
        for entry in till.journal.not_handed_out():
            is_it = found.kind == "settlement" and entry.settlement_id == found.settlement_id
            if is_it and entry.outcome == "settlement":
                till.journal.mark_handed_out(entry.idempotency_key, dt.datetime.now(dt.UTC))


def _last_id(till: Till) -> str:
    entry = till.journal.find(last_key(till))
    if entry is None or entry.settlement_id is None:
        raise click.UsageError("the newest bill of this till has no receipt; status --last tells what became of it")
    return entry.settlement_id
