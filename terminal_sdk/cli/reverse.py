"""``settlement-terminal reverse``: take a bill back whole."""

from __future__ import annotations

from pathlib import Path

import click

from terminal_sdk.cli.concluding import conclude
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import (
    home_option,
    json_option,
    print_options,
    target_options,
    wait_option,
    yes_option,
)
from terminal_sdk.cli.printing import Paper
from terminal_sdk.cli.targets import check_target, target_of
from terminal_sdk.cli.till import open_till


@click.command(
    cls=TillCommand,
    short_help="Take a bill back whole.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.GIVEN_UP,
        Exit.USAGE,
        Exit.REFUSED,
        Exit.NOT_YET_KNOWN,
        Exit.UNREACHABLE,
        Exit.SIGN_IN_REFUSED,
        Exit.JOURNAL,
        Exit.HOME,
        Exit.FAILURE,
    ),
)
@home_option
@target_options
@click.option(
    "--reason",
    metavar="TEXT",
    default="till",
    show_default=True,
    help="Why, in a few words without names. The same bill and reason are one reversal, however often it is asked.",
)
@yes_option
@wait_option
@print_options
@click.option("--no-receipt", is_flag=True, help="Do not fetch and print the receipt.")
@json_option
def reverse(
    home: Home,
    settlement_id: str | None,
    key: str | None,
    last: bool,
    reason: str,
    agreed: bool,
    wait_s: float,
    printer: Path | None,
    pdf: Path | None,
    font: Path | None,
    no_receipt: bool,
    as_json: bool,
) -> None:
    """Take a bill back whole 整单冲正: the bank's part to the bank, the insurance part to its account.

    Never refused for being early, late or repeated. By key it works even if the bill never arrived, which it then
    never can. Once it is accepted it stands, even while the bank is still being told.
    """
    check_target(settlement_id, key, last=last)
    with open_till(home) as till:
        till.name_open_attempts()
        target = target_of(till, settlement_id, key)
        if not agreed:
            name = " ".join(str(each) for each in target.values())
            click.confirm(f"Take back {name}? 确认冲正", abort=True, err=as_json)
        with till.minding_ctrl_c():
            result = till.follow(till.run(till.terminal.reverse(reason=reason, **target)), wait_s)
        paper = None if no_receipt else Paper.of(till.settings, printer, pdf, font)
        conclude(till, result, paper, as_json=as_json, undoing=True)
