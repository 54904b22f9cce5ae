"""The `settlement` command: its subcommands are imported only when they are called, so that --help is quick."""

from __future__ import annotations

import importlib
from typing import Final

import click

from settlement import __version__

_COMMANDS: Final = {
    "accounts": ("settlement.cli.accounts", "accounts", "The turn of the insurance year."),
    "bank-faults": ("settlement.cli.bank_faults", "bank_faults", "Have a running bank host misbehave."),
    "bank-host": ("settlement.cli.bank_host", "bank_host", "Play one or several of the banks, with faults on demand."),
    "cards": ("settlement.cli.cards", "cards", "Persons and their social security cards."),
    "catalog": ("settlement.cli.catalog", "catalog", "Drugs and services: import, look up, export."),
    "demo": ("settlement.cli.demo", "demo", "Settle real bills from virtual cards at virtual terminals, and verify."),
    "in-doubt": ("settlement.cli.in_doubt", "in_doubt", "List the cases that are not final, and what becomes of them."),
    "init": ("settlement.cli.init", "init", "Make what a new installation needs: keys, authorities, database."),
    "policy": ("settlement.cli.policy", "policy", "Check the insurance plans, and explain a bill by them."),
    "seal": ("settlement.cli.seal", "seal", "Sign what is new in the books, and carry the seals outside."),
    "serve": ("settlement.cli.serve", "serve", "Run the service."),
    "simulate": ("settlement.cli.simulate", "simulate", "Storms and crashes in virtual time; all promises checked."),
    "terminals": ("settlement.cli.terminals", "terminals", "Institutions and their terminals."),
    "verify": ("settlement.cli.verify", "verify", "Check every invariant of the books, also against the banks'."),
}


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All subcommands, in the order of the alphabet."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one subcommand."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - our own table
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="settlement")
def main() -> None:
    """Medical settlement point of sale: one card read settles the whole bill, insurance first, the bank for the rest.

    Settings come from a TOML file named by SETTLEMENT_CONFIG and from variables SETTLEMENT_<KEY>; without any, an
    embedded PostgreSQL under .data is used. See docs/reference/configuration.md.
    """
