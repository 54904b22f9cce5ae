"""``settlement-terminal waiting``: what this till is not done with."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.journal.entries import entry_view
from terminal_sdk.cli.options import home_option, json_option
from terminal_sdk.cli.outcomes import money
from terminal_sdk.cli.speaking import json_text
from terminal_sdk.cli.text import table
from terminal_sdk.client.waiting import Need, Waiting, error_in_words, waiting_in
from terminal_sdk.journal import Journal

_NEEDS: dict[Need, str] = {
    "send": "to be sent to the service; forward does it 待发送",
    "learn": "may be paid or not; status, reverse or journal recover 状态未知",
    "hand_out": "ended, but never shown or printed; journal recover does it 待打印",
}


@click.command(
    cls=TillCommand,
    short_help="Show what waits, and why.",
    epilog=exit_lines(Exit.DONE, Exit.USAGE, Exit.WAITING, Exit.JOURNAL, Exit.HOME, Exit.FAILURE),
)
@home_option
@json_option
def waiting(home: Home, as_json: bool) -> None:
    """Show all that is not done with, oldest first 待办: to be sent, to be learned, to be handed out.

    For each: what, since when, how often it was tried, why that failed, when it is tried again. Works without the
    service. Exit code 0: nothing waits.
    """
    with home.journal(home.credentials()) as journal:
        found = waiting_in(journal)
        views = [_view(each, journal) for each in found]
    if as_json:
        click.echo(json_text({"waiting": views}))
    for each, view in zip(found, views, strict=True):
        if not as_json:
            click.echo("\n".join([*table(_rows(each, view)), ""]))
    if not found and not as_json:
        click.echo("nothing waits 无待办", err=True)
    click.get_current_context().exit(Exit.WAITING if found else Exit.DONE)


def _view(each: Waiting, journal: Journal) -> dict[str, Any]:
    entry = journal.find(each.idempotency_key)
    # A reversal says nothing of the bill; the bill's own attempt does, if it was this till's.
    bill = journal.find(each.bill) or entry
    said = entry_view(bill, whole=False) if bill else {}
    return {
        "need": each.need,
        "operation": each.operation,
        "idempotency_key": each.idempotency_key,
        "settlement_id": each.settlement_id or said.get("settlement_id"),
        "visit_no": said.get("visit_no"),
        "total_fen": said.get("total_fen"),
        "outcome": each.outcome,
        "since": each.since.isoformat(),
        "tries": each.tries,
        "last_error": each.last_error,
        "last_error_text": None if each.last_error is None else error_in_words(each.last_error),
        "tried_at": None if each.tried_at is None else each.tried_at.isoformat(),
        "next_try_at": None if each.next_try_at is None else each.next_try_at.isoformat(),
    }


def _rows(each: Waiting, view: dict[str, Any]) -> list[tuple[str, str]]:
    next_try = _moment(each.next_try_at) or "when forward runs"
    return [
        (f"{each.operation} {each.outcome or ''}".rstrip(), _NEEDS[each.need]),
        ("Since 起始", _moment(each.since)),
        ("Visit 就诊号", view["visit_no"] or ""),
        ("Total 合计", "" if view["total_fen"] is None else money(view["total_fen"])),
        ("Settlement 单号", view["settlement_id"] or ""),
        ("Tries 次数", str(each.tries) if each.tries else ""),
        ("Last error 原因", view["last_error_text"] or ""),
        ("Next try 下次", next_try if each.need == "send" else ""),
        ("Key 幂等键", each.idempotency_key),
    ]


def _moment(moment: dt.datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"
