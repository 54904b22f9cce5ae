"""``settlement-terminal journal recover``: what every start of a till begins with."""

from __future__ import annotations

import time
from pathlib import Path

import click

from terminal_sdk.cli.concluding import mark_if_handed_out, receipt_of
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import home_option, json_option, printer_option
from terminal_sdk.cli.outcomes import result_lines, result_view
from terminal_sdk.cli.printing import Paper
from terminal_sdk.cli.speaking import json_text, say
from terminal_sdk.cli.till import open_till
from terminal_sdk.client.resuming import Paid
from terminal_sdk.results import NotYetKnown


@click.command(
    cls=TillCommand,
    short_help="Bring every open attempt to an end.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.USAGE,
        Exit.NOT_YET_KNOWN,
        Exit.JOURNAL,
        Exit.HOME,
        Exit.FAILURE,
    ),
)
@home_option
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(1, 600),
    default=60.0,
    show_default=True,
    help="How long to ask and to follow; what has no end by then stays open.",
)
@click.option(
    "--paid",
    type=click.Choice(["print", "reverse"]),
    default="print",
    show_default=True,
    help="A bill that is paid and was never printed: print its receipt, or take it back (the patient has left).",
)
@printer_option
@click.option("--no-receipt", is_flag=True, help="Do not fetch and print receipts.")
@json_option
def recover(
    home: Home,
    timeout_s: float,
    paid: Paid,
    printer: Path | None,
    no_receipt: bool,
    as_json: bool,
) -> None:
    """Find out what became of every open attempt, or make certain that nothing will; print what was never printed.

    A bill that the service does not know is sent again while its deadline runs, and sealed after that, so that nobody
    is charged who has left. What had ended but was never shown or printed comes too, once. What stays open is left to
    forward. Exit code 0: nothing is open any more; what each bill came to stands in the output. Do not run it while
    another program of this till settles.
    """
    with open_till(home) as till:
        until = time.monotonic() + timeout_s
        with till.minding_ctrl_c():
            found = till.run(till.terminal.resume(timeout_s=timeout_s, paid=paid))
            # The service may know a bill and not yet its end; a till that was just switched on has the time to wait.
            results = [till.follow(each, max(until - time.monotonic(), 0.0)) for each in found]
        paper = None if no_receipt else Paper.of(till.settings, printer, None, None)
        views = []
        for result in results:
            if not as_json:
                say("\n".join([*result_lines(result), ""]))
            views.append(result_view(result) | receipt_of(till, result, paper, as_json=as_json))
            if not as_json:
                mark_if_handed_out(till, result, views[-1], paper)
        if as_json:
            say(json_text({"attempts": views}))
            for result, view in zip(results, views, strict=True):
                mark_if_handed_out(till, result, view, paper)
        elif not results:
            say("nothing was open 无未决交易", err=True)
    still_open = any(isinstance(result, NotYetKnown) for result in results)
    click.get_current_context().exit(Exit.NOT_YET_KNOWN if still_open else Exit.DONE)
