"""``settlement-terminal status``: what became of a bill."""

from __future__ import annotations

import click

from terminal_sdk.cli.concluding import conclude
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import home_option, json_option, target_options, wait_option
from terminal_sdk.cli.targets import check_target, target_of
from terminal_sdk.cli.till import open_till


@click.command(
    cls=TillCommand,
    short_help="Ask what became of a bill.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.USAGE,
        Exit.DECLINED,
        Exit.REVERSED,
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
@wait_option
@json_option
def status(home: Home, settlement_id: str | None, key: str | None, last: bool, wait_s: float, as_json: bool) -> None:
    """Ask the service what became of a bill 查询, and follow it while that is open. Changes nothing.

    The exit code tells the outcome. A bill that the service does not know is refused (SETTLEMENT_UNKNOWN); under a key
    that this till may have sent it is not yet known, because it may be on its way.
    """
    check_target(settlement_id, key, last=last)
    with open_till(home) as till:
        result = till.run(till.terminal.status(**target_of(till, settlement_id, key)))
        with till.minding_ctrl_c():
            followed = till.follow(result, wait_s)
        conclude(till, followed, None, as_json=as_json, prints=False)
