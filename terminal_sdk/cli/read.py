"""``settlement-terminal read``: show what a card says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import click

from terminal_sdk.reader import CardReader, Interface

EXIT_USAGE = 2
EXIT_CARD = 3
EXIT_PIN = 4


@click.command(short_help="Read a card and show it.")
@click.option(
    "--card",
    "card_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="A virtual card (CardImage JSON). What the card must remember is kept beside it, in FILE.state.",
)
@click.option(
    "--interface",
    type=click.Choice(["contact", "contactless"]),
    default="contact",
    show_default=True,
    help="Put the card into the slot, or hold it in the field.",
)
@click.option("--pin", "ask_pin", is_flag=True, help="Ask for the card's PIN (hidden) and unlock the personal data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--trace",
    is_flag=True,
    help="Print every command (>) and response (<) on standard error. The PIN is never shown; data that were read "
    "are shown only with --reveal.",
)
@click.option("--reveal", is_flag=True, help="Show names and numbers in full.")
@click.pass_context
def read(
    context: click.Context,
    card_file: Path,
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
    from terminal_sdk.card import CardError, PinBlocked, PinInvalid, PinWrong
    from terminal_sdk.reader import ReaderError, TracingReader

    reader = _virtual_reader(card_file, cast("Interface", interface))
    if trace:
        reader = TracingReader(reader, lambda line: click.echo(line, err=True), reveal=reveal)
    pin = click.prompt("PIN", hide_input=True, err=True) if ask_pin else None
    try:
        _show(reader, pin, as_json=as_json, reveal=reveal)
    except (PinWrong, PinBlocked, PinInvalid) as error:
        _fail(context, str(error), EXIT_PIN)
    except (CardError, ReaderError) as error:
        _fail(context, str(error), EXIT_CARD)


def _virtual_reader(card_file: Path, interface: Interface) -> CardReader:
    from terminal_sdk.card import CardError, CardImage, JsonFileState, VirtualCard
    from terminal_sdk.reader import VirtualReader

    try:
        image = CardImage.load(card_file)
        card = VirtualCard(image, JsonFileState(card_file.with_name(card_file.name + ".state")))
    except (CardError, OSError) as error:
        raise click.UsageError(str(error)) from error
    return VirtualReader(card, interface)


def _show(reader: CardReader, pin: str | None, *, as_json: bool, reveal: bool) -> None:
    from terminal_sdk.card import CardSession
    from terminal_sdk.cli.view import lines_of, view_of

    with CardSession(reader) as session:
        if pin is not None:
            session.verify_pin(pin)
        view = view_of(session.read(), reveal=reveal)
    if as_json:
        click.echo(json.dumps(view, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(lines_of(view)))


def _fail(context: click.Context, message: str, code: int) -> None:
    click.echo(f"Error: {message}", err=True)
    context.exit(code)
