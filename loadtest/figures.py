"""From what was seen to figures: how soon bills were settled, what came of them, and who paid for it in CPU time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.visits import Visit
from terminal_sdk import Reversed, Settled

WITHIN_MS = (200, 500, 1_000, 2_000, 5_000)
LATE_MS = 50.0
"""A generator that begins later than this on more than one bill in a hundred has fallen behind its plan."""
_LATE_SHARE_MAX = 0.01
_GENERATOR_CORES_MAX = 0.85
_FAILED = ("refused", "error", "never answered", "not yet known")

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """CPU seconds so far by group of processes, taken at ``at_ms`` after the beginning of the run."""

    at_ms: float
    cpu_s: Mapping[str, float]


def quantile(values: Sequence[float], part: float) -> float | None:
    """The smallest value that at least this part of all values does not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def settling(visits: Iterable[Visit]) -> Figures:
    """How soon bills were settled, from the patient's tap as planned to the till's certainty.

    ``bills``: all but those that the bank declined; a share is of these. What never was settled is in no share.
    """
    bills = [visit for visit in visits if visit.outcome != "declined"]
    took_ms = [visit.settled_ms - visit.arrival.at_ms for visit in bills if visit.settled_ms is not None]
    within = {str(limit): _share(sum(1 for took in took_ms if took <= limit), len(bills)) for limit in WITHIN_MS}
    return {"bills": len(bills), "settled": len(took_ms), "within": within, **_spread(took_ms)}


def settling_by_group(visits: Sequence[Visit]) -> dict[str, Figures]:
    """``settling`` of all, by who paid, by how often the card is used, and by kind of till."""
    groups: dict[str, Callable[[Visit], bool]] = {
        "all": lambda _: True,
        "account only": lambda visit: isinstance(visit.result, Settled) and visit.result.split.bank_fen == 0,
        "account and bank": lambda visit: isinstance(visit.result, Settled) and visit.result.split.bank_fen > 0,
        "hot accounts": lambda visit: visit.arrival.hot,
        "cold accounts": lambda visit: not visit.arrival.hot,
    }
    for kind in sorted({visit.arrival.kind for visit in visits}):
        groups[f"till: {kind}"] = lambda visit, kind=kind: visit.arrival.kind == kind  # type: ignore[misc]
    return {name: settling([visit for visit in visits if belongs(visit)]) for name, belongs in groups.items()}


def outcomes(visits: Sequence[Visit]) -> Figures:
    """What the first answer was, and what became of each bill in the end; how many could not be served."""
    ends = Counter(visit.outcome for visit in visits)
    failed = sum(count for outcome, count in ends.items() if outcome.startswith(_FAILED))
    return {
        "first": dict(Counter(visit.first for visit in visits).most_common()),
        "final": dict(ends.most_common()),
        "failed": failed,
        "failed_share": _share(failed, len(visits)),
    }


def reversals(visits: Sequence[Visit]) -> Figures:
    """Bills taken back at the till's wish, and keys sent once more."""
    asked = [visit for visit in visits if visit.reversal is not None]
    return {
        "asked": len(asked),
        "done": sum(1 for visit in asked if isinstance(visit.reversal, Reversed)),
        "keys_repeated": sum(visit.repeats for visit in visits),
    }


def generator(visits: Sequence[Visit], planned: int, cores: float) -> Figures:
    """Whether the generator kept to its plan; ``troubles`` says so in words where it did not."""
    late_ms = [visit.late_ms for visit in visits]
    late_share = _share(sum(1 for late in late_ms if late > LATE_MS), len(late_ms))
    troubles = []
    if len(visits) < planned:
        troubles.append(f"{planned - len(visits)} of {planned} planned arrivals were not served")
    if late_share > _LATE_SHARE_MAX:
        troubles.append(f"{late_share:.1%} of the bills began more than {LATE_MS:.0f} ms after their planned moment")
    if cores > _GENERATOR_CORES_MAX:
        troubles.append(f"it used {cores:.2f} of the one core that a Python process can use")
    return {
        "planned": planned,
        "served": len(visits),
        "late": {"share_over_50_ms": late_share, **_spread(late_ms)},
        "card_in_use_elsewhere": sum(1 for visit in visits if visit.card_wait_ms > 0),
        "proofs": dict(Counter(visit.signed or "none" for visit in visits)),
        "cpu_cores": round(cores, 3),
        "troubles": troubles,
    }


def cpu(begin: Reading, end: Reading, settled: int) -> dict[str, Figures]:
    """CPU of each group of processes while the load ran: seconds, cores in the mean, ms for each settled bill."""
    wall_s = (end.at_ms - begin.at_ms) / 1_000
    return {
        name: {
            "seconds": round(spent := end.cpu_s[name] - begin.cpu_s[name], 3),
            "cores": round(spent / wall_s, 3),
            "ms_per_settled_bill": round(spent * 1_000 / settled, 3) if settled else None,
        }
        for name in begin.cpu_s
    }


def timeline(visits: Sequence[Visit], seconds: int) -> list[Figures]:
    """By second of the run: arrivals as planned, bills that became settled, and the slowest of those that arrived."""
    arrived, settled, slowest = Counter[int](), Counter[int](), Counter[int]()
    for visit in visits:
        second = visit.arrival.at_ms // 1_000
        arrived[second] += 1
        if visit.settled_ms is not None:
            settled[int(visit.settled_ms // 1_000)] += 1
            slowest[second] = max(slowest[second], round(visit.settled_ms - visit.arrival.at_ms))
    last = max([seconds - 1, *settled])
    return [
        {"second": second, "arrived": arrived[second], "settled": settled[second], "slowest_ms": slowest[second]}
        for second in range(last + 1)
    ]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    quantiles = {"p50_ms": quantile(values, 0.5), "p90_ms": quantile(values, 0.9), "p99_ms": quantile(values, 0.99)}
    quantiles["max_ms"] = max(values, default=None)
    return {name: None if value is None else round(value, 1) for name, value in quantiles.items()}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 5) if whole else 0.0
