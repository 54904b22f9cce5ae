"""The report on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.figures import Figures
from loadtest.report.content import Grid, grids, headline


def tables(summary: Figures, console: Console) -> None:
    """Print everything; the last lines say whether the run passed, and if not, why."""
    console.print(headline(summary), highlight=False)
    for grid in grids(summary):
        print_grid(grid, console)
    for line in summary["verify"]["lines"]:
        console.print(Text(line))
    for line in summary["failures"]:
        console.print(Text(f"FAILED {line}", style="bold red"), soft_wrap=True)
    console.print(Text("passed" if summary["passed"] else "NOT PASSED", style="bold"))


def print_grid(grid: Grid, console: Console) -> None:
    """One table, and the line under it."""
    table = Table(title=grid.title, title_justify="left")
    for number, column in enumerate(grid.columns):
        table.add_column(column, justify="right" if number else "left")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    console.print(table)
    console.print(Text(grid.note, style="dim"), "")
