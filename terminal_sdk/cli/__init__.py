"""The ``settlement-terminal`` command line."""

from terminal_sdk.cli.main import main

__all__ = ["main"]
