"""The ``settlement-terminal`` command: what a terminal maker tries first."""

from __future__ import annotations

from importlib import import_module

import click

from terminal_sdk.cli.speaking import prepare_screen

_COMMANDS = {
    "enrol": "enrol",
    "forward": "forward",
    "journal": "journal",
    "plug": "plug",
    "quote": "quote",
    "read": "read",
    "readers": "readers",
    "receipt": "receipt",
    "refund": "refund",
    "reverse": "reverse",
    "settle": "settle",
    "status": "status",
    "waiting": "waiting",
}
"""Command → the module of this package that holds it under the same name."""


class _Late(click.Group):
    """Imports a command when it is wanted, so that a till's small calls stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = _COMMANDS.get(cmd_name)
        if home is None:
            return None
        command: click.Command = getattr(import_module(f"terminal_sdk.cli.{home}"), cmd_name)
        return command


@click.group(cls=_Late, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """A till of the medical settlement service: cards, readers, bills, receipts.

    Begin with enrol. read, readers and plug need neither till nor service. Each command tells its exit codes; 0 is
    always that what was asked for is done.
    """
    prepare_screen()
