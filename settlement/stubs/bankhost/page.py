"""The bank host's page for people: banks, totals, the last messages, faults. Plain HTML, reloaded every few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from settlement.stubs.bankhost.wire import BankSummary, Fault, LogRow

_FRAMES_MOST = 40
_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>Bank host</title><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1c2733;background:#f6f8fa}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;background:#fff}td,th{padding:.3rem .7rem;border:1px solid #d5dce3;text-align:left}
th{background:#e9eef3}td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#b00020;font-weight:600}
</style></head><body><h1>Bank host</h1>"""


def render(summaries: Sequence[BankSummary], frames: Mapping[str, Sequence[LogRow]], faults: Sequence[Fault]) -> str:
    """The whole page."""
    newest = sorted(
        ((row.recorded_at, bank, row) for bank, rows in frames.items() for row in rows),
        key=lambda item: (item[0], item[2].id),
        reverse=True,
    )[:_FRAMES_MOST]
    return "".join(
        [
            _HEAD,
            _table(
                "Banks",
                ("Code", "Bank", "Business date", "Accounts", "Balances, yuan", "Books", "Operations"),
                (_bank_cells(summary) for summary in summaries),
            ),
            _table(
                "Last messages",
                ("Time (UTC)", "Bank", "", "Type", "Code", "Reference", "Card", "Yuan", "Answer", "Note"),
                (_frame_cells(bank, row) for _, bank, row in newest),
            ),
            _table(
                "Faults",
                ("No.", "Bank", "Action", "Match", "Played", "Remaining"),
                (_fault_cells(fault) for fault in faults),
            ),
            "</body></html>",
        ]
    )


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in rows)
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _yuan(fen: int | None) -> str:
    return "" if fen is None else f"{fen // 100:,}.{fen % 100:02d}"


def _bank_cells(summary: BankSummary) -> Sequence[str]:
    totals = ", ".join(f"{total.count} {total.kind} {total.state}" for total in summary.totals) or "none"
    books = "balanced" if summary.balanced else "NOT BALANCED"
    return (
        summary.bank,
        summary.name,
        summary.business_date.isoformat(),
        str(summary.accounts),
        _yuan(summary.balance_fen),
        books,
        totals,
    )


def _frame_cells(bank: str, row: LogRow) -> Sequence[str]:
    arrow = "→ in" if row.direction == "received" else "out →"
    code = row.processing_code or row.network_code
    time = f"{row.recorded_at:%H:%M:%S}"
    amount = _yuan(row.amount_fen)
    return (time, bank, arrow, row.mti, code, row.reference, row.pan, amount, row.response_code, row.note)


def _fault_cells(fault: Fault) -> Sequence[str]:
    match = fault.spec.match
    wanted = {"type": match.mti, "code": match.processing_code, "reference": match.reference}
    shown = ", ".join(f"{name} {value}" for name, value in wanted.items() if value)
    shown += " one card" if match.pan else ""
    remaining = "always" if fault.remaining is None else str(fault.remaining)
    return (str(fault.id), fault.spec.bank or "any", fault.spec.action, shown or "any", str(fault.played), remaining)
