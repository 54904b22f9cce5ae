"""Options that several commands share, so that they are spelt and explained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from terminal_sdk.cli.home import DEFAULT_HOME, Home

F = TypeVar("F", bound=Callable[..., Any])
HOME_VARIABLE = "SETTLEMENT_TERMINAL_HOME"
MAX_WAIT_S = 600.0


def _home(_: click.Context, __: click.Parameter, value: Path) -> Home:
    return Home(value.expanduser())


home_option = click.option(
    "--home",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_HOME,
    envvar=HOME_VARIABLE,
    callback=_home,
    show_default=True,
    show_envvar=True,
    help="The till's folder, as enrol made it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; amounts in it are fen.")
yes_option = click.option("--yes", "agreed", is_flag=True, help="Do not ask for agreement; it was given already.")
wait_option = click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=click.FloatRange(0, MAX_WAIT_S),
    default=30.0,
    show_default=True,
    help="How long to follow an outcome that is not final.",
)


def reader_options(command: F) -> F:
    """Which card: a virtual one, or one in a real reader."""
    for option in (
        click.option(
            "--interface",
            type=click.Choice(["contact", "contactless"]),
            default="contact",
            show_default=True,
            help="Put the card into the slot, or hold it in the field. A real reader is asked, unless this is given.",
        ),
        click.option(
            "--reader",
            metavar="NAME|auto",
            help="A real reader (PC/SC): its name or a part of it, or auto for the only one. readers lists them.",
        ),
        click.option(
            "--card",
            "card_file",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A virtual card (CardImage JSON). What the card must remember is kept beside it, in FILE.state.",
        ),
    ):
        command = option(command)
    return command


def bill_options(command: F) -> F:
    """The bill: a file, or lines."""
    for option in (
        click.option("--visit", "--order", "visit_no", metavar="NO", help="Number of the visit or order 就诊号."),
        click.option(
            "--line",
            "lines",
            metavar="CODE:NAME:CLASS:YUAN",
            multiple=True,
            help="A line of the bill, as 86900001:阿莫西林胶囊:A:24.50; may be repeated. Class A 甲, B 乙, C 丙.",
        ),
        click.option(
            "--bill",
            "bill_file",
            metavar="FILE",
            type=click.File("r", encoding="utf-8"),
            help="The bill as JSON or TOML; - is standard input. docs/guide/till.md describes it.",
        ),
    ):
        command = option(command)
    return command


printer_option = click.option(
    "--printer",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Print the receipt: append the bytes for an ESC/POS printer to this file or device.",
)


def print_options(command: F) -> F:
    """Where a receipt goes besides the screen."""
    for option in (
        click.option(
            "--font",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Font with Chinese glyphs for --pdf; else till.toml's, else one that is found.",
        ),
        click.option(
            "--pdf",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write the receipt as PDF, 80 mm wide.",
        ),
        printer_option,
    ):
        command = option(command)
    return command


def target_options(command: F) -> F:
    """Which settlement: exactly one of three ways to name it."""
    for option in (
        click.option("--last", is_flag=True, help="The newest bill in this till's journal."),
        click.option("--key", metavar="KEY", help="The idempotency key of its attempt."),
        click.option("--id", "settlement_id", metavar="ID", help="The service's number of the settlement."),
    ):
        command = option(command)
    return command


consent_option = click.option(
    "--without-insurance",
    "consent",
    flag_value="without_insurance",
    default=None,
    help="The patient agrees that bank or cash pay the whole bill while the card's insurance side is frozen.",
)

remainder_option = click.option(
    "--remainder",
    type=click.Choice(["bank", "cash"]),
    help="Who pays what insurance does not; else as the till's profile says.",
)
