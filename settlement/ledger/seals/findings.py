"""What a check of the seals found: named up to a limit, counted beyond it."""

from __future__ import annotations

from settlement.ledger.verify import Violation

INVARIANT = "seals"
FINDINGS_MAX = 50


class Findings:
    """Collects faults. The first fifty are kept, the others counted."""

    def __init__(self) -> None:
        self._kept: list[Violation] = []
        self._more = 0

    def add(self, finding: str) -> None:
        """One fault: what and where."""
        if len(self._kept) < FINDINGS_MAX:
            self._kept.append(Violation(INVARIANT, finding))
        else:
            self._more += 1

    def violations(self) -> list[Violation]:
        """What is kept; with one more for those that were counted only."""
        rest = [Violation(INVARIANT, f"and {self._more} more")] if self._more else []
        return self._kept + rest
