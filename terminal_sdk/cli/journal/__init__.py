"""``settlement-terminal journal``: the till's durable memory, for people."""

from __future__ import annotations

import click

from terminal_sdk.cli.journal.listing import list_attempts
from terminal_sdk.cli.journal.recover import recover
from terminal_sdk.cli.journal.show import show


@click.group(short_help="See what is open, and bring it to an end.")
def journal() -> None:
    """The till's journal 流水: every attempt, written before it was sent, until 35 days after its answer."""


for command in (list_attempts, show, recover):
    journal.add_command(command)
