"""Progress bars on standard error, gone when the work is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of so many steps; call what it gives with how many more are done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda steps: progress.advance(task, steps)
