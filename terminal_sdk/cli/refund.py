"""``settlement-terminal refund``: give lines of a settled bill back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from terminal_sdk.cli.amounts import AmountInvalid, fen_of
from terminal_sdk.cli.concluding import conclude
from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.options import (
    home_option,
    json_option,
    print_options,
    target_options,
    wait_option,
    yes_option,
)
from terminal_sdk.cli.outcomes import money
from terminal_sdk.cli.printing import Paper
from terminal_sdk.cli.targets import check_target, target_of
from terminal_sdk.cli.text import table
from terminal_sdk.cli.till import Till, open_till
from terminal_sdk.results import Refused
from terminal_sdk.wire import ReceiptLine, RefundLine


def _lines(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[RefundLine]:
    lines = []
    for text in texts:
        number, colon, yuan = text.partition(":")
        if not (number.isascii() and number.isdecimal() and 1 <= int(number[:7]) <= _LINE_NO_MAX):
            raise click.BadParameter("write the line's number, as in 2, or number and amount, as in 2:12.50")
        try:
            lines.append(RefundLine(line_no=int(number), amount_fen=fen_of(yuan) if colon else None))
        except AmountInvalid as error:
            raise click.BadParameter(str(error)) from None
    return lines


_LINE_NO_MAX = 100_000


@click.command(
    cls=TillCommand,
    short_help="Give lines of a bill back.",
    epilog=exit_lines(
        Exit.DONE,
        Exit.GIVEN_UP,
        Exit.USAGE,
        Exit.REFUSED,
        Exit.NOT_YET_KNOWN,
        Exit.UNREACHABLE,
        Exit.SIGN_IN_REFUSED,
        Exit.JOURNAL,
        Exit.ATTEMPT_OPEN,
        Exit.HOME,
        Exit.QUEUE_FULL,
        Exit.FAILURE,
    ),
)
@home_option
@target_options
@click.option(
    "--line",
    "lines",
    metavar="NO[:YUAN]",
    multiple=True,
    required=True,
    callback=_lines,
    help="A line of the bill by its number, and how much of it, as 2:12.50; without amount all that is left of it. May"
    " be repeated.",
)
@click.option("--reason", metavar="TEXT", default="till", show_default=True, help="Why, in a few words without names.")
@click.option(
    "--refund-key",
    metavar="KEY",
    help="Your own idempotency key of this refund: the same key is the same refund, however often.",
)
@yes_option
@wait_option
@print_options
@click.option("--no-receipt", is_flag=True, help="Do not fetch and print the receipt.")
@json_option
def refund(
    home: Home,
    settlement_id: str | None,
    key: str | None,
    last: bool,
    lines: list[RefundLine],
    reason: str,
    refund_key: str | None,
    agreed: bool,
    wait_s: float,
    printer: Path | None,
    pdf: Path | None,
    font: Path | None,
    no_receipt: bool,
    as_json: bool,
) -> None:
    """Give lines of a settled bill back, whole or in part 部分退款: each share goes to where it came from.

    --id, --key or --last name the bill. Each run is a refund of its own, unless --refund-key says otherwise. It is in
    the journal before anything is sent; without an answer it is queued, and must not be asked for anew.
    """
    check_target(settlement_id, key, last=last)
    with open_till(home) as till:
        till.name_open_attempts()
        bill_id = _settlement_id(till, settlement_id, key)
        if not agreed:
            billed = till.run(till.terminal.receipt(bill_id)).lines
            click.echo("\n".join(_named(lines, billed)), err=as_json)
            click.confirm("Give these back? 确认退款", abort=True, err=as_json)
        own_key = refund_key or till.terminal.new_key()
        with till.minding_ctrl_c(own_key):
            result = till.run(
                till.terminal.refund(settlement_id=bill_id, lines=lines, reason=reason, idempotency_key=own_key)
            )
            followed = till.follow(result, wait_s)
        paper = None if no_receipt else Paper.of(till.settings, printer, pdf, font)
        conclude(till, followed, paper, as_json=as_json)


def _settlement_id(till: Till, settlement_id: str | None, key: str | None) -> str:
    """The service's number of the bill that is meant. Raises ``click.UsageError``."""
    if settlement_id is not None:
        return settlement_id
    target = target_of(till, None, key)
    entry = till.journal.find(target["idempotency_key"])
    if entry is not None and entry.settlement_id is not None:
        return entry.settlement_id
    found = till.run(till.terminal.status(idempotency_key=target["idempotency_key"]))
    settlement = None if isinstance(found, Refused) else found.settlement
    if settlement is None:
        raise click.UsageError("this bill is not settled; status tells what became of it")
    return settlement.settlement_id


def _named(lines: Sequence[RefundLine], billed: Sequence[ReceiptLine]) -> list[str]:
    """The lines that go back, by their names. Raises ``click.UsageError`` for one that the bill does not have."""
    by_number = {each.line_no: each for each in billed}
    rows = []
    for line in lines:
        item = by_number.get(line.line_no)
        if item is None:
            raise click.UsageError(f"the bill has no line {line.line_no}; it has {', '.join(map(str, by_number))}")
        amount = "all that is left 剩余全部" if line.amount_fen is None else money(line.amount_fen)
        rows.append((f"{line.line_no} {item.category} {item.item_name}", amount))
    return table(rows)
