"""``settlement-terminal journal show``."""

from __future__ import annotations

import click

from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.home import Home
from terminal_sdk.cli.journal.entries import entry_view
from terminal_sdk.cli.options import home_option, json_option
from terminal_sdk.cli.outcomes import money
from terminal_sdk.cli.speaking import json_text
from terminal_sdk.cli.text import table


@click.command(
    cls=TillCommand,
    short_help="Show one attempt.",
    epilog=exit_lines(Exit.DONE, Exit.USAGE, Exit.JOURNAL, Exit.HOME, Exit.FAILURE),
)
@click.argument("key")
@home_option
@json_option
def show(key: str, home: Home, as_json: bool) -> None:
    """Show the attempt under KEY: its bill and its answer, as the journal has them; works without the service."""
    with home.journal(home.credentials()) as journal:
        entry = journal.find(key)
    if entry is None:
        raise click.UsageError("the journal holds no attempt under this key; journal list --all shows the keys")
    view = entry_view(entry, whole=True)
    if as_json:
        click.echo(json_text(view))
        return
    request = view["request"] or {}
    rows = [
        ("Key 幂等键", view["idempotency_key"]),
        ("Operation 交易", view["operation"]),
        ("State 状态", view["state"]),
        ("Ended by 结果", view["outcome"] or ""),
        ("Written 写入时间", view["prepared_at"]),
        ("Settlement 单号", view["settlement_id"] or ""),
        ("Visit 就诊号", view["visit_no"] or ""),
        ("Card number 卡号", request.get("card", {}).get("card_number", "")),
        ("Takes back 原幂等键", request.get("original_idempotency_key", "")),
        ("Reason 原因", request.get("reason", "")),
        *(
            (f"  {line['category']} {line['item_name']}", money(line["amount_fen"]))
            for line in request.get("lines", [])
        ),
        ("Total 合计", "" if view["total_fen"] is None else money(view["total_fen"])),
        ("Request 请求", "" if request else "unreadable: written under another key of this terminal"),
        ("Answer 应答", _answer(view["answer"])),
    ]
    click.echo("\n".join(table(rows)))


def _answer(answer: object) -> str:
    if not isinstance(answer, dict):
        return ""
    error = answer.get("error")
    return f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else str(answer.get("state", ""))
