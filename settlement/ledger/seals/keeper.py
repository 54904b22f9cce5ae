"""Sealing at intervals, for as long as a process lives; what cannot be sealed is told and tried again."""

from __future__ import annotations

import structlog
from prometheus_client import Counter, Gauge

from settlement.clock import Clock
from settlement.ledger.seals.sealing import Sealer

SEALS = Counter("settlement_seals_total", "Seals made by this process")
FAILURES = Counter("settlement_seal_failures_total", "Times at which no seal could be made")
UNSEALED = Gauge("settlement_unsealed_rows", "Rows that no seal holds, when last looked")
AGE = Gauge("settlement_seal_age_seconds", "Since the last seal, or since the process began if there is none")

REST = 3.0
"""Sealing takes a quarter of the time at most: a minute's rows at once would be a second of one processor."""

log = structlog.get_logger("settlement.seals")


async def keep_sealing(sealer: Sealer, clock: Clock, interval_s: int) -> None:
    """Seal what is new, now and each ``interval_s`` seconds, until cancelled. Several processes share the work."""
    begun = clock.now()

    def age_s() -> float:
        since = sealer.last.statement.signed_at if sealer.last else begun
        return (clock.now() - since).total_seconds()

    AGE.set_function(age_s)
    while True:
        try:
            # A little less than the interval, so that a process does not skip its own turn.
            made = await sealer.seal(not_within_s=interval_s * 0.9, rest=REST)
            if made is not None:
                SEALS.inc()
                # The log lies outside the database: whoever removes the last seal there does not remove it here.
                log.info("sealed", seal=made.label, rows=made.statement.rows)
            UNSEALED.set(0 if made else await sealer.unsealed())
        except Exception:
            FAILURES.inc()
            # The database may be away; the next round comes.
            log.exception("sealing_failed")
        await clock.sleep(interval_s)
