"""What in the figures themselves says that they may not mean what they seem to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.machine import Machine
from bench.report import Figure

OTHERS_PERCENT_MAX = 10.0
CLIENT_PERCENT_MAX = 85.0
LATE_MS_MAX = 5.0
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def remarks(figures: Sequence[Figure], machine: Machine) -> list[str]:
    """One sentence each, about the worst of every kind and about each measurement that is affected."""
    found = []
    if machine.data_on in _IN_MEMORY:
        found.append(f"the data lie in memory ({machine.data_on}): no commit was durable, the figures mean nothing")
    found += _above(
        figures,
        "others",
        OTHERS_PERCENT_MAX,
        "the machine was not ours alone: others used up to {value:.0f} % of its cores in {where}",
    )
    found += _above(
        figures,
        "client_share",
        CLIENT_PERCENT_MAX,
        "the clients may have been the limit: they used {value:.0f} % of what they can in {where}",
    )
    found += _above(
        figures,
        "late_p99",
        LATE_MS_MAX,
        "the generator was late: its p99 was {value:.1f} ms behind the plan in {where}",
    )
    found += _above(figures, "failed", 0.0, "up to {value:.0f} operations of a repeat failed in {where}")
    found += _above(figures, "ran_out", 0.0, "ended early in at least one repeat, because all cards were used: {where}")
    return found


def _above(figures: Iterable[Figure], quantity: str, limit: float, sentence: str) -> list[str]:
    over = [
        (each.maximum, each.measurement)
        for each in figures
        if each.quantity == quantity and each.maximum is not None and each.maximum > limit
    ]
    if not over:
        return []
    worst = max(value for value, _ in over)
    return [sentence.format(value=worst, where=", ".join(name for _, name in over))]
