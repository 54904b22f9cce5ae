"""``settlement-terminal forward``: the background sender of what a till owes."""

from __future__ import annotations

import asyncio
import contextlib
import json

import click

from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import home_option, json_option
from terminal_sdk.cli.outcomes import result_lines, result_view
from terminal_sdk.cli.speaking import json_text, say
from terminal_sdk.cli.till import Till, open_till
from terminal_sdk.client import Forwarder
from terminal_sdk.results import AnyResult


@click.command(
    cls=TillCommand,
    short_help="Send what this till owes, for as long as it takes.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.USAGE,
        Exit.WAITING,
        Exit.JOURNAL,
        Exit.HOME,
        Exit.FORWARDING,
        Exit.FAILURE,
    ),
)
@home_option
@click.option("--once", is_flag=True, help="Try everything that is owed now, and end.")
@json_option
def forward(home: Home, once: bool, as_json: bool) -> None:
    """Send reversals and refunds that found no answer, and end bills that were given up 补发.

    In order and one at a time for each bill; from try to try at distances up to five minutes, without a last try. Runs
    until Ctrl-C or SIGTERM; the queue is the journal, so it goes on at the next start. One forwarder at a time. With
    --json each end is one line. What ended is shown and marked by journal recover, not here. Exit code 0: nothing is
    owed any more.
    """
    with open_till(home) as till:
        till.ctrl_c.arm()
        with contextlib.suppress(KeyboardInterrupt):
            if once:
                _one_pass(till, as_json=as_json)
            else:
                till.run(_serve(till.terminal.forwarder(on_result=_show_line if as_json else _show)))
        owed = till.journal.owed_entries()
    say(f"{len(owed)} still to be sent; waiting shows them 待发送" if owed else "nothing is owed 无待发送", err=True)
    click.get_current_context().exit(Exit.WAITING if owed else Exit.DONE)


def _one_pass(till: Till, *, as_json: bool) -> None:
    results = till.run(till.terminal.forwarder().once())
    if as_json:
        say(json_text({"attempts": [result_view(each) for each in results]}))
        return
    for each in results:
        _show(each)


async def _serve(forwarder: Forwarder) -> None:
    async with forwarder:
        say("forwarding; Ctrl-C ends it 补发中", err=True)
        await asyncio.Event().wait()


def _show(result: AnyResult) -> None:
    say("\n".join([*result_lines(result), ""]))


def _show_line(result: AnyResult) -> None:
    say(json.dumps(result_view(result)))
