"""``settlement-terminal readers``: which card readers this machine has."""

from __future__ import annotations

import click

from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.options import json_option
from terminal_sdk.cli.speaking import json_text


@click.command(
    cls=TillCommand,
    short_help="List the card readers of this machine.",
    epilog=exit_lines(Exit.DONE, Exit.CARD, Exit.FAILURE),
)
@json_option
def readers(as_json: bool) -> None:
    """List the readers at the PC/SC daemon, one a line 读卡器; --reader takes such a name, or a part of it.

    None is no error. Needs the package pyscard (extra pcsc) and, on Linux, pcscd.
    """
    from terminal_sdk.reader.pcsc import list_readers

    names = list_readers()
    if as_json:
        click.echo(json_text({"readers": names}))
        return
    for name in names:
        click.echo(name)
    if not names:
        click.echo("no reader is connected", err=True)
