"""Progress bars on the terminal for what takes a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.run import Bars


@contextlib.contextmanager
def progress(console: Console) -> Iterator[Bars]:
    """Bars on this console while it is open."""
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:

        def open_bar(text: str, total: int) -> Callable[[int], object]:
            task = shown.add_task(text, total=total)
            return lambda more: shown.advance(task, more)

        yield open_bar
