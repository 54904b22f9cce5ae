"""The ``settlement-terminal`` command: what a terminal maker tries first."""

from __future__ import annotations

import click

from terminal_sdk.cli.plug import plug
from terminal_sdk.cli.read import read


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Cards and readers at a terminal of the medical settlement service."""


main.add_command(plug)
main.add_command(read)
