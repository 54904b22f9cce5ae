"""Reference pages made from the code; `python -m settlement.cli.reference docs/reference` renews them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from settlement.cli.main import main
from settlement.config import describe

_WIDTH = 100


def configuration_page() -> str:
    """Every setting: key, variable, default, what is accepted, meaning."""
    rows = [
        f"| `{each.key}` | `{each.variable}` | {_code(each.default)} | {each.expected} | {each.meaning} |"
        for each in describe()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Defaults, then the TOML file that `SETTLEMENT_CONFIG` names, then the environment; each over the last.",
            "An unknown key or a bad value stops the start with a message that names it. Made from the code by",
            "`python -m settlement.cli.reference docs/reference`.",
            "",
            "| key in TOML | variable | default | accepts | meaning |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def commands_page() -> str:
    """The help text of every command."""
    parts = ["# Commands", "", "Made from the code by `python -m settlement.cli.reference`.", ""]
    parts += _command(
        main,
        click.Context(
            main, info_name="settlement", terminal_width=_WIDTH, max_content_width=_WIDTH, **main.context_settings
        ),
    )
    return "\n".join(parts)


def _command(command: click.Command, context: click.Context) -> list[str]:
    parts = [f"## {context.command_path}", "", "```", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                parts += _command(
                    child,
                    click.Context(
                        child, parent=context, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH
                    ),
                )
    return parts


def write_pages(folder: Path) -> None:
    """Write both pages into a folder."""
    (folder / "configuration.md").write_text(configuration_page(), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
