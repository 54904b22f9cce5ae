"""From options to the bill and the PIN; standard input can be read for one thing only."""

from __future__ import annotations

import datetime as dt
import getpass
import sys
import warnings
from collections.abc import Sequence
from typing import IO

import click

from terminal_sdk.cli.billfile import BILL_BYTES_MAX, BillFile, BillInvalid, LineEntry, bill_of, line_entry, read_bill
from terminal_sdk.client import Bill
from terminal_sdk.wire import VisitType


def gathered_bill(bill_file: IO[str] | None, lines: Sequence[str], visit_no: str | None, visit_type: VisitType) -> Bill:
    """The bill that the options give. Raises ``click.UsageError``, which names the place and repeats no contents."""
    if (bill_file is not None) == bool(lines):
        raise click.UsageError("give the bill: --bill FILE, or --line once for each line")
    try:
        file = BillFile(lines=[_entry(number, text) for number, text in enumerate(lines, start=1)])
        if bill_file is not None:
            file = read_bill(_text(bill_file))
        return bill_of(file, visit_no=visit_no, visit_type=visit_type, now=dt.datetime.now(dt.UTC))
    except BillInvalid as error:
        raise click.UsageError(f"the bill: {error}") from None


def typed_pin(from_stdin: bool) -> str:
    """The bank PIN, hidden while it is typed; from the first line of standard input for programs."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return hidden("Bank PIN 银行卡密码", instead="programs give --pin-stdin")


def hidden(prompt: str, *, instead: str) -> str:
    """What a person types, never shown. ``instead``: what to do where nobody types.

    Raises ``click.UsageError`` where there is no terminal: what is typed would be seen.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return str(click.prompt(prompt, hide_input=True, err=True))
        except getpass.GetPassWarning:
            raise click.UsageError(f"there is no terminal to type on unseen; {instead}") from None


def _entry(number: int, text: str) -> LineEntry:
    try:
        return line_entry(text)
    except BillInvalid as error:
        raise BillInvalid(f"line {number}: {error}") from None


def _text(bill_file: IO[str]) -> str:
    try:
        text = bill_file.read(BILL_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError):
        raise BillInvalid("cannot be read as UTF-8") from None
    if len(text) > BILL_BYTES_MAX:
        raise BillInvalid("larger than 8 MB")
    return text
