"""The reference page of the commands: `python -m terminal_sdk.cli.reference docs/reference` renews it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from terminal_sdk.cli.exits import MEANINGS
from terminal_sdk.cli.main import main

PAGE = "terminal-commands.md"
_WIDTH = 100


def exit_code_table() -> list[str]:
    """Every exit code with its meaning, as rows of a table."""
    rows = [f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items()]
    return ["| code | meaning |", "|---|---|", *rows]


def commands_page() -> str:
    """The exit codes, and the help text of every command."""
    parts = [
        "# Commands of the till",
        "",
        "Made from the code by `python -m terminal_sdk.cli.reference docs/reference`. How they go together:",
        "[a till to try](../guide/till.md).",
        "",
        "## Exit codes",
        "",
        *exit_code_table(),
        "",
    ]
    return "\n".join(parts + _command(main, None, "settlement-terminal"))


def _command(command: click.Command, parent: click.Context | None, name: str) -> list[str]:
    context = click.Context(command, parent=parent, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH)
    context.help_option_names = ["-h", "--help"]
    parts = [f"## {context.command_path}", "", "```", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None:
                parts += _command(child, context, child_name)
    return parts


if __name__ == "__main__":
    (Path(sys.argv[1]) / PAGE).write_text(commands_page(), encoding="utf-8")
