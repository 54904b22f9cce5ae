"""The end of every money command: show the outcome, print its receipt, leave with its exit code."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from terminal_sdk.cli.failures import PrintingFailed
from terminal_sdk.cli.outcomes import exit_of, receipt_id_of, result_lines, result_view
from terminal_sdk.cli.printing import Paper, dressed, print_receipt
from terminal_sdk.cli.speaking import json_text, say, screen_is_lost
from terminal_sdk.cli.till import Till
from terminal_sdk.errors import TerminalError
from terminal_sdk.results import AnyResult, Refunded, Settled
from terminal_sdk.wire import Receipt


def conclude(
    till: Till,
    result: AnyResult,
    paper: Paper | None,
    *,
    as_json: bool,
    undoing: bool = False,
    prints: bool = True,
) -> None:
    """Show one outcome and end the command. ``paper`` None: without a receipt, which others print.

    A receipt that cannot be had or printed changes nothing about the money, so it does not change the exit code.
    ``prints`` False: this command never prints, so a receipt that nobody has printed yet stays to be printed.
    """
    view = result_view(result, undoing=undoing)
    if not as_json:
        say("\n".join(result_lines(result)))
    view |= receipt_of(till, result, paper, as_json=as_json)
    if as_json:
        say(json_text(view))
    if prints or not isinstance(result, Settled | Refunded):
        mark_if_handed_out(till, result, view, paper)
    click.get_current_context().exit(exit_of(result, undoing=undoing))


def mark_if_handed_out(till: Till, result: AnyResult, view: dict[str, Any], paper: Paper | None) -> None:
    """After everything was shown: the journal learns it, unless printing failed or nobody can have read it."""
    on_paper = paper is not None and view["receipt"] is not None and bool(paper.printer or paper.pdf)
    if view["receipt_problem"] is None and (on_paper or not screen_is_lost()):
        till.mark_handed_out(result)


def receipt_of(till: Till, result: AnyResult, paper: Paper | None, *, as_json: bool) -> dict[str, Any]:
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
