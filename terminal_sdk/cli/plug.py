"""``settlement-terminal plug``: put a virtual card into a slot of a real PC/SC daemon."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from terminal_sdk.cli.cards import virtual_card
from terminal_sdk.reader import Interface
from terminal_sdk.reader.vpcd import FIRST_PORT, SLOTS

if TYPE_CHECKING:
    from terminal_sdk.reader.vpcd import PlugEvent

EXIT_READER = 3

_TOLD: dict[PlugEvent, str] = {
    "plugged": "plugged in",
    "waiting": "another card is in this slot; waiting until it is free",
    "powered": "powered up",
    "reset": "reset",
    "unpowered": "powered down",
    "lost": "the daemon went away; plugging in again when it is back",
    "unplugged": "taken out",
}


@click.command(short_help="Put a virtual card into a PC/SC daemon.")
@click.option(
    "--card",
    "card_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="A virtual card (CardImage JSON). What the card must remember is kept beside it, in FILE.state.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the daemon runs.")
@click.option(
    "--slot",
    type=click.IntRange(0, SLOTS - 1),
    help="Which of the driver's slots; each is a reader of its own.  [default: 0]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"TCP port of the slot, in place of --slot, where it is not Debian's ({FIRST_PORT} for slot 0).",
)
@click.option(
    "--interface",
    type=click.Choice(["contact", "contactless"]),
    default="contact",
    show_default=True,
    help="Behave as in the slot, or as in the field.",
)
@click.option(
    "--trace",
    is_flag=True,
    help="Print every command (>) and response (<) on standard error. The PIN is never shown; data that were read "
    "are shown only with --reveal.",
)
@click.option("--reveal", is_flag=True, help="Show in the trace what was read.")
@click.pass_context
def plug(
    context: click.Context,
    card_file: Path,
    host: str,
    slot: int | None,
    port: int | None,
    interface: str,
    trace: bool,
    reveal: bool,
) -> None:
    """Lay a virtual card into a slot of the PC/SC daemon, until Ctrl-C or SIGTERM takes it out.

    Any PC/SC program then finds it as it finds a card in a real reader. Needs pcscd with the driver
    of vsmartcard (Debian: pcscd, vsmartcard-vpcd). If the daemon is started anew, the card is
    plugged in again.

    \b
    Exit codes:
      0  the card was taken out
      2  wrong usage, or the card file is no card
      3  no daemon, or the card has no such interface
    """
    from terminal_sdk.reader import ReaderError
    from terminal_sdk.reader.vpcd import PluggedCard

    if port is not None and slot is not None:
        raise click.UsageError("give --slot or --port, not both")
    if port is None:
        port = FIRST_PORT + (slot or 0)
    plugged = PluggedCard(
        virtual_card(card_file),
        cast("Interface", interface),
        host=host,
        port=port,
        tell=lambda event: click.echo(_TOLD[event]),
        trace=(lambda line: click.echo(line, err=True)) if trace else None,
        reveal=reveal,
    )
    click.echo(f"card  {card_file}, {interface}")
    click.echo(f"slot  {host}:{port}; Ctrl-C takes the card out")
    try:
        with _signals_call(plugged.stop):
            plugged.serve()
    except ReaderError as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(EXIT_READER)


@contextlib.contextmanager
def _signals_call(stop: Callable[[], None]) -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
