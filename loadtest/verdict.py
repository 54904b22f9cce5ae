"""Whether a run passed: the books, the invariants, the tills against the ledger, and the share of errors."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from typing import Any

from loadtest import figures
from loadtest.books import shortened
from loadtest.run import Findings, Options

_DISTRIBUTIONS = ("locust", "gevent", "aiohttp", "uvloop", "asyncpg", "msgspec")


def failures(found: Findings, error_share_max: float) -> list[str]:
    """Why the run did not pass, a line each; empty: it passed. The first word is the check that failed."""
    counts = found.proof.ledger.violations + (found.proof.banks.violations if found.proof.banks else [])
    lines = [f"verify {each.invariant}: {each.finding}" for each in counts]
    lines += shortened(found.comparison.findings)
    if found.drain_s is None or found.still_open:
        lines.append(f"drain: {found.still_open} legs are open, or bills under way, after the time given")
    if found.proof.banks is None:
        lines.append("banks: no bank host was asked, so the books of the banks were not compared")
    share = figures.outcomes(found.visits)["failed_share"]
    if share > error_share_max:
        lines.append(f"errors: {share:.2%} of the bills were refused or failed; at most {error_share_max:.2%} may be")
    calls = sum(each["calls"] for each in found.crowd.operations)
    failed = sum(each["failures"] for each in found.crowd.operations)
    if calls and failed / calls > error_share_max:
        lines.append(f"errors: {failed} of {calls} calls failed; at most {error_share_max:.2%} may")
    lines += [f"users: a user broke: {each}" for each in found.crowd.exceptions]
    if not found.visits:
        lines.append("arrivals: nobody was served, so nothing was shown")
    return lines


def summary(found: Findings, options: Options, error_share_max: float) -> dict[str, Any]:
    """All figures of a run, as they go to the JSON file and the reports. Units are in the names."""
    settled = sum(1 for visit in found.visits if visit.settled_ms is not None)
    cpu = figures.cpu(found.begin, found.end, settled)
    failed = failures(found, error_share_max)
    plan = found.plan
    return {
        "run": {
            "id": plan.run,
            "shape": plan.profile.name,
            "peak_arrivals_per_s": plan.profile.peak,
            "duration_s": plan.profile.duration_s,
            "seed": plan.seed,
            "tills": {kind: len(terminals) for kind, terminals in plan.terminals.items()},
            "patients": len(plan.patients),
            "hot_cards": plan.hot_cards,
            "users_max": found.crowd.users_max,
            "stand": "own" if options.service is None else "attached",
            "journals": "memory (tmpfs)" if found.journals_in_memory else "disk",
            "python": platform.python_version(),
            "postgresql": found.database,
            "packages": {name: version(name) for name in _DISTRIBUTIONS},
        },
        "passed": not failed,
        "failures": failed,
        "settling": figures.settling_by_group(found.visits),
        "outcomes": figures.outcomes(found.visits),
        "reversals": figures.reversals(found.visits),
        "drain_s": None if found.drain_s is None else round(found.drain_s, 2),
        "generator": figures.generator(found.visits, len(plan.arrivals), cpu["generator"]["cores"]),
        "cpu": cpu,
        "operations": found.crowd.operations,
        "books": {
            "tills": _sums(found.comparison.tills),
            "ledger": _sums(found.comparison.ledger),
            "findings": len(found.comparison.findings),
        },
        "verify": {"lines": list(found.proof.lines()), **json.loads(found.proof.as_json())},
        "timeline": figures.timeline(found.visits, round(plan.profile.duration_s)),
    }


def _sums(sides: Any) -> dict[str, dict[str, int]]:
    return {
        outcome: {"bills": sums.bills, **{f"{part}_fen": fen for part, fen in sums.fen.items()}}
        for outcome, sums in sorted(sides.items())
    }
