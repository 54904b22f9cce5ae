"""The end of every money command: show the outcome, print its receipt, leave with its exit code."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from terminal_sdk.cli.failures import PrintingFailed
from terminal_sdk.cli.outcomes import exit_of, receipt_id_of, result_lines, result_view
from terminal_sdk.cli.printing import Paper, dressed, print_receipt
from terminal_sdk.cli.speaking import json_text, say
from terminal_sdk.cli.till import Till
from terminal_sdk.errors import TerminalError
from terminal_sdk.results import Result
from terminal_sdk.wire import Receipt


def conclude(till: Till, result: Result, paper: Paper | None, *, as_json: bool, undoing: bool = False) -> None:
    """Show one outcome and end the command. ``paper`` None: without a receipt.

    A receipt that cannot be had or printed changes nothing about the money, so it does not change the exit code.
    """
    view = result_view(result, undoing=undoing)
    if not as_json:
        say("\n".join(result_lines(result)))
    view |= receipt_of(till, result, paper, as_json=as_json)
    if as_json:
        say(json_text(view))
    click.get_current_context().exit(exit_of(result, undoing=undoing))


def receipt_of(till: Till, result: Result, paper: Paper | None, *, as_json: bool) -> dict[str, Any]:
    """Fetch and print the receipt of an outcome: ``receipt`` and ``receipt_problem`` for the object of ``--json``."""
    receipt_id = receipt_id_of(result)
    if paper is None or receipt_id is None:
        return {"receipt": None, "receipt_problem": None}
    receipt: Receipt | None = None
    try:
        receipt = till.run(till.terminal.receipt(receipt_id))
        print_receipt(dressed(receipt, paper), paper, screen=not as_json)
        problem = None
    except TerminalError as error:
        problem = str(error)
    except KeyboardInterrupt:
        problem = str(PrintingFailed("interrupted"))
    if problem is not None:
        say(
            f"Receipt not printed: {problem}. The outcome above stands; settlement-terminal receipt {receipt_id}"
            " prints it",
            err=True,
        )
    return {"receipt": msgspec.to_builtins(receipt), "receipt_problem": problem}
