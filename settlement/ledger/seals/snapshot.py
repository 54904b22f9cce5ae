"""PostgreSQL's snapshots as values: which transactions were committed when one was taken."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"(?P<xmin>[1-9]\d*):(?P<xmax>[1-9]\d*):(?P<running>(?:[1-9]\d*(?:,[1-9]\d*)*)?)")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All transactions below ``xmax`` are over, but for those ``running``; below ``xmin`` none is running.

    Numbers are 64 bits wide (xid8) and never come twice in the life of a database cluster.
    """

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """From the text of a ``pg_snapshot`` (``10:20:10,14``). ``ValueError`` for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"not a snapshot: {text!r}")
        running = match["running"]
        return cls(
            int(match["xmin"]), int(match["xmax"]), frozenset(map(int, running.split(","))) if running else frozenset()
        )

    def sees(self, tx: int) -> bool:
        """Whether what this transaction wrote was committed (if it ever was)."""
        return tx < self.xmax and tx not in self.running


NOTHING = Snapshot(0, 0, frozenset())
"""Sees no transaction: what stands before the first seal."""
