"""Waiting for a bank without standing in others' way: what the engine asks its caller before a call only waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

Waits: TypeAlias = Callable[[str], AbstractContextManager[bool]]
"""Entered with a bank's code around a wait for it. False: too many wait for it; what is known is answered at once."""

AGAIN = "(asked again)"
"""Stands for the bank where a settlement is asked for again and nobody looks up whose answer is open."""
RETURNS = "(returns)"
"""Stands for the bank where money is given back."""


@contextmanager
def _always(_: str) -> Iterator[bool]:
    yield True


ALWAYS: Waits = _always
"""Nobody counts."""
