"""``settlement-terminal read``: show what a card says of itself."""

from __future__ import annotations

from pathlib import Path

import click

from terminal_sdk.cli.cards import chosen_reader
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.gathering import hidden
from terminal_sdk.cli.options import reader_options
from terminal_sdk.cli.speaking import json_text
from terminal_sdk.reader import CardReader


@click.command(cls=TillCommand, short_help="Read a card and show it.")
@reader_options
@click.option("--pin", "ask_pin", is_flag=True, help="Ask for the card's PIN (hidden) and unlock the personal data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--trace",
    is_flag=True,
    help="Print every command (>) and response (<) on standard error. The PIN is never shown; data that were read "
    "are shown only with --reveal.",
)
@click.option("--reveal", is_flag=True, help="Show names and numbers in full.")
def read(
    card_file: Path | None,
    reader: str | None,
    interface: str,
    ask_pin: bool,
    as_json: bool,
    trace: bool,
    reveal: bool,
) -> None:
    """Read the card in the reader and show it, names and numbers masked.

    \b
    Exit codes:
      0  the card was read
      1  given up at the PIN prompt
      2  wrong usage, or the card file is no card
      3  the card or the reader failed: no card on this interface, taken
         out, another kind of card, data that break their format
      4  the PIN is wrong or blocked
    """
    from terminal_sdk.reader import TracingReader

    device = chosen_reader(card_file, reader, interface)
    if trace:
        device = TracingReader(device, lambda line: click.echo(line, err=True), reveal=reveal)
    pin = hidden("PIN", instead="the card was not asked") if ask_pin else None
    _show(device, pin, as_json=as_json, reveal=reveal)


def _show(reader: CardReader, pin: str | None, *, as_json: bool, reveal: bool) -> None:
    from terminal_sdk.card import CardSession
    from terminal_sdk.cli.view import lines_of, view_of

    with CardSession(reader) as session:
        if pin is not None:
            session.verify_pin(pin)
        view = view_of(session.read(), reveal=reveal)
    if as_json:
        click.echo(json_text(view))
    else:
        click.echo("\n".join(lines_of(view)))
