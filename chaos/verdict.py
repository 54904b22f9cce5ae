"""Whether a run passed, and all its figures: what was done to the service, and what became of every bill."""

from __future__ import annotations

import json
import platform
from collections import Counter
from typing import Any

from chaos.run import Findings
from chaos.schedule import KILLS
from loadtest import figures
from loadtest.books import shortened

_SHOWN = 20


def failures(found: Findings) -> list[str]:
    """Why the run did not pass, a line each; empty: it passed. The first word is the check that failed.

    What a till saw fail while something was broken is no failure of the run; wrong books are, and so is a run in which
    nothing was settled or nothing was killed: it shows nothing.
    """
    verdict, after = found.verdict, found.after
    lines = []
    for check, findings in (
        ("lost", verdict.lost),
        ("doubled", verdict.doubled),
        ("bank_differs", verdict.bank_differs),
        ("account_sums", found.account_sums),
        ("words_differ", verdict.words_differ),
        ("service_differs", after.service_differs),
        ("contradicts_itself", after.words.contradictions),
        ("not_final", verdict.not_final),
        ("user_broke", found.crowd.exceptions),
    ):
        lines += [f"{check}: {each}" for each in findings[:_SHOWN]]
        lines += [f"{check}: and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
    # Bills that a till took back before it ever heard of them are in the ledger's sums alone.
    lines += shortened(each for each in found.comparison.findings if each.check != "sums")
    tills, ledger = found.comparison.tills.get("settled"), found.comparison.ledger.get("settled")
    if tills != ledger:
        lines.append(f"sums: settled by the tills {tills}, by the ledger {ledger}")
    banks = found.proof.banks.violations if found.proof.banks else []
    lines += [f"verify {each.invariant}: {each.finding}" for each in (*found.proof.ledger.violations, *banks)]
    if after.words.open_attempts or found.open_legs or found.recovery_s is None:
        lines.append(
            f"open: {after.words.open_attempts} attempts in the tills' journals and {found.open_legs} legs "
            f"after {found.options.recovery_s:g} s"
        )
    lines += [f"died: {name} ended by itself {times} times" for name, times in found.died.items()]
    if not any(bill.stands for bill in found.bills):
        lines.append("nothing_settled: no bill was settled, so nothing was shown")
    if not any(found.struck.get(kind) for kind in KILLS):
        lines.append("nothing_killed: nothing was killed, so nothing was shown; give more seconds")
    return lines


def summary(found: Findings) -> dict[str, Any]:
    """All figures of a run, as they go to the JSON file and the reports. Units are in the names."""
    failed = failures(found)
    options, after, states = found.options, found.after, Counter(bill.state for bill in found.bills)
    waits = [each.in_doubt_ms for each in found.doubts]
    last_words = Counter(word.word for word in after.words.by_key.values())
    return {
        "run": {
            "id": found.plan.run,
            "seed": options.seed,
            "seconds": options.seconds,
            "arrivals_per_s": options.rate,
            "blow_every_s": options.every_s,
            "tills": options.tills,
            "services": options.services,
            "workers": options.workers,
            "python": platform.python_version(),
            "postgresql": found.database,
        },
        "passed": not failed,
        "failures": failed,
        "lost": len(found.verdict.lost),
        "doubled": len(found.verdict.doubled),
        "settlements": len(found.bills),
        "states": dict(sorted(states.items())),
        "till_words": dict(sorted(last_words.items())),
        "bills_begun": len(found.visits),
        "bills_planned": len(found.plan.arrivals),
        "blows": {"planned": len(found.schedule), "struck": dict(sorted(found.struck.items()))},
        "kills": {kind: found.struck.get(kind, 0) for kind in KILLS},
        "pauses": found.struck.get("pause_worker", 0),
        "link_faults": sum(times for name, times in found.struck.items() if name.startswith("link ")),
        "bank_faults": sum(times for name, times in found.struck.items() if name.startswith("bank_fault ")),
        "connections_severed": found.severed,
        "in_doubt": {
            "messages": len(waits),
            "resolved": sum(1 for each in found.doubts if each.resolved),
            "longest_ms": max(waits, default=0),
            "p50_ms": figures.quantile(waits, 0.5),
            "at_tills": sum(1 for visit in found.visits if visit.first == "not yet known"),
            "open_at_tills_after_the_faults": after.till_doubts,
        },
        "recovery_s": None if found.recovery_s is None else round(found.recovery_s, 2),
        "first_answers": dict(Counter(visit.first for visit in found.visits).most_common()),
        "operations": found.crowd.operations,
        "verify": {"lines": list(found.proof.lines()), **json.loads(found.proof.as_json())},
        "events": [
            {"at_ms": each.at_ms, "kind": each.kind, "target": each.target, "what": each.what} for each in found.events
        ],
        "timeline": figures.timeline(found.visits, round(options.seconds)),
    }
