"""``settlement-terminal journal list``."""

from __future__ import annotations

from typing import Any

import click

from terminal_sdk.cli.amounts import yuan_of
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.journal.entries import entry_view
from terminal_sdk.cli.options import home_option, json_option
from terminal_sdk.cli.speaking import json_text
from terminal_sdk.cli.text import pad

LIMIT_MAX = 1_000
_NUMBER_WIDTH = 41


@click.command(
    "list",
    cls=TillCommand,
    short_help="List open attempts, or all.",
    epilog=exit_lines(Exit.DONE, Exit.USAGE, Exit.JOURNAL, Exit.HOME, Exit.FAILURE),
)
@home_option
@click.option("--all", "all_attempts", is_flag=True, help="All attempts, newest first, instead of the open ones.")
@click.option(
    "--limit",
    type=click.IntRange(1, LIMIT_MAX),
    default=20,
    show_default=True,
    help="With --all: how many at most.",
)
@json_option
def list_attempts(home: Home, all_attempts: bool, limit: int, as_json: bool) -> None:
    """List the attempts that have no answer, oldest first 未决交易; works without the service."""
    with home.journal(home.credentials()) as journal:
        entries = journal.recent(limit) if all_attempts else journal.open_entries()
    views = [entry_view(entry, whole=False) for entry in entries]
    if as_json:
        click.echo(json_text({"attempts": views}))
        return
    for view in views:
        click.echo(_row(view))
    if not views:
        click.echo("the journal is empty" if all_attempts else "nothing is open 无未决交易", err=True)


def _row(view: dict[str, Any]) -> str:
    amount = "" if view["total_fen"] is None else yuan_of(view["total_fen"])
    parts = (
        f"{view['prepared_at'][:19].replace('T', ' ')}Z",
        pad(view["operation"], 10),
        pad(view["outcome"] or view["state"], 10),
        amount.rjust(12),
        pad(view["visit_no"] or "", 20),
        pad(view["idempotency_key"], _NUMBER_WIDTH),
        view["settlement_id"] or "",
    )
    return "  ".join(parts).rstrip()
