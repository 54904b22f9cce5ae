"""``python -m terminal_sdk.cli``: the same as ``settlement-terminal``."""

from terminal_sdk.cli.main import main

main(prog_name="settlement-terminal")
