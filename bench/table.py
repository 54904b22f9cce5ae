"""The report for people: one table, every figure with its unit and its spread over the repeats."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bench.ratios import BASELINES
from bench.report import Figure, Report

_WIDEST = 1_000
_SMALL, _MIDDLE = 10, 1_000


def print_report(report: Report, console: Console | None = None) -> None:
    """The table, then what it was measured on, the proof of the books, remarks and problems."""
    console = console or Console()
    table = as_table(report)
    needed = Measurement.get(console, console.options.update(width=_WIDEST), table).maximum
    console.width = max(console.width, needed)  # a figure cut off would be worse than a line that wraps
    console.print(table)
    console.print("\n".join(_foot(report)), highlight=False, markup=False, soft_wrap=True)


def as_table(report: Report) -> Table:
    """Measurements and their figures; ratios last. The column ``ratio`` compares throughputs of the same repeat."""
    table = Table(title=f"bench, {len(report.order)} measurements × {report.options.repeats}, interleaved")
    table.add_column("figure", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in ("median", "min", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ratio", no_wrap=True)
    by_name = {each.measurement: each for each in report.ratios}
    for about, group in groupby(report.figures, key=lambda each: each.about):
        table.add_row(Text(about, style="bold"))
        for each in group:
            if each.title is not None:
                _add(table, each, _ratio_cell(each, by_name))
        table.add_section()
    table.add_row(Text("ratios: of two figures of the same repeat (derived)", style="bold"))
    for each in report.ratios:
        _add(table, each, "", title=each.about)
    return table


def _add(table: Table, each: Figure, ratio: str, title: str | None = None) -> None:
    name = f"  {title or each.title}" + (" (derived)" if each.derived and title is None else "")
    table.add_row(
        Text(name), Text(each.unit), *(_number(value) for value in (each.median, each.minimum, each.maximum)), ratio
    )


def _ratio_cell(each: Figure, ratios: dict[str, Figure]) -> str:
    kind, _, clients = each.measurement.partition("/")
    if each.quantity != "rate" or kind not in BASELINES:
        return ""
    pair, baseline = BASELINES[kind]
    known = ratios.get(f"{pair}/{clients}")
    return "" if known is None or known.median is None else f"{known.median:.2f} × {baseline}"


def _foot(report: Report) -> list[str]:
    machine, software = report.machine, report.software
    durable = ", ".join(f"{name} {report.database.get(name, '?')}" for name in ("fsync", "synchronous_commit"))
    lines = [
        f"machine   {machine.cpu_model}, {machine.cores} cores, {machine.memory_mib} MiB, data on {machine.data_on}",
        f"software  Python {software.python}, PostgreSQL {report.database.get('server_version', '?')} ({durable}), "
        f"{software.openssl}, {software.crypto}",
        f"commit    {software.git_commit or 'unknown'}",
        f"run       {report.options.repeats} repeats, {report.options.seconds:g} s each, {report.took_s:.0f} s in all",
    ]
    if report.books is not None:
        lines += [f"books     {line}" for line in report.books.lines]
        lines.append(
            f"books     settled: {report.books.settled_by_tills} by the tills, "
            f"{report.books.settled_in_ledger} in the ledger"
        )
    lines += [f"remark    {remark}" for remark in report.remarks]
    lines += [
        f"PROBLEM   {problem.part}{f', {problem.measurement}' if problem.measurement else ''}: {problem.message}"
        for problem in report.problems
    ]
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) < _SMALL:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < _MIDDLE else f"{value:,.0f}"
