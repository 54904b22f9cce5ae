"""The recovery loop: whatever is not final and due is claimed and carried on, after a crash as after a time-out."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import Counter

import structlog

from settlement.db.outages import READ_ONLY, reason
from settlement.engine import metrics
from settlement.engine.background import Background
from settlement.engine.context import EngineContext
from settlement.ledger.records import BankLeg, SagaKey

_MEASURE_EVERY_S = 5.0

log = structlog.get_logger("settlement.engine")


class Recovery:
    """Claims due legs and acts on them. Several processes may run it side by side; a claim is fenced (rule 9)."""

    def __init__(self, context: EngineContext, background: Background) -> None:
        self._context = context
        self._background = background
        self._loop: asyncio.Task[None] | None = None
        self._under_way: dict[SagaKey, str] = {}
        self._measure_at = 0.0
        self._shown: set[tuple[str, str]] = set()
        self._trouble: str | None = "recovery has not begun"

    def start(self) -> None:
        """Begin to look for due legs, at once and then at the configured interval."""
        self._loop = asyncio.create_task(self._run(), name="recovery")

    async def stop(self) -> None:
        """Stop claiming; what was claimed goes on in the background and is drained with it."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
            self._loop = None

    async def _run(self) -> None:
        interval_s = self._context.limits.recovery_interval_ms / 1_000
        while True:
            try:
                await self.sweep()
                await self._measure()
                self._show_load()
                # The sweep itself need not write when nothing is due.
                self._trouble = None if await self._context.ledger.takes_writes() else READ_ONLY
            except Exception as error:
                # The database may be away; the loop outlives it. Its trace is told once, not twice a second.
                trouble = f"recovery cannot work: {reason(error)} ({type(error).__name__})"
                if trouble != self._trouble:
                    log.exception("recovery_sweep_failed")
                self._trouble = trouble
            await self._context.clock.sleep(interval_s)

    async def sweep(self) -> int:
        """Claim what is due now and carry it on in the background; returns how many legs were claimed."""
        claimed = 0
        while True:
            full = self._full_banks()
            room = self._context.limits.recovery_batch - len(self._under_way)
            most = min(room, self._context.limits.recovery_per_bank)
            if most <= 0:
                return claimed
            found = await self._claim(most, full)
            claimed += found
            if found < most:
                return claimed

    def _full_banks(self) -> list[str]:
        """Banks that have their share of recovery's places; a bank that is slow must leave the others theirs."""
        counts = Counter(self._under_way.values())
        return [bank for bank, legs in counts.items() if legs >= self._context.limits.recovery_per_bank]

    async def _claim(self, most: int, full: list[str]) -> int:
        now = self._context.clock.now()
        send_before = self._context.send_before()
        legs = await self._context.ledger.claim_due_legs(
            now, self._context.worker, self._context.lease_until(now), most, full
        )
        for leg in legs:
            log.info("leg_claimed", saga_id=str(leg.key.saga_id), leg=leg.leg, state=leg.state, attempt=leg.attempts)
            metrics.CLAIMED.labels(leg.leg, leg.state).inc()
            self._under_way[leg.key] = leg.bank_code
            self._background.start(self._act(leg, send_before), f"recover {leg.key.saga_id}")
        return len(legs)

    def _show_load(self) -> None:
        """What this process is working on, where several processes' values are put together."""
        metrics.UNDER_WAY.set(self._background.size)
        metrics.BATCH_QUEUE.set(self._context.ledger.depth)

    async def _measure(self) -> None:
        """Show what is not final, now and then: it is a count over the open legs, which are few."""
        if self._context.clock.monotonic() < self._measure_at:
            return
        self._measure_at = self._context.clock.monotonic() + _MEASURE_EVERY_S
        now = self._context.clock.now()
        old_before = now - dt.timedelta(seconds=self._context.limits.in_doubt_alarm_s)
        found = {
            (row["leg"], row["bank_code"]): (row["legs"], row["old"], row["oldest_s"])
            for row in await self._context.ledger.count_open_cases(now, old_before)
        }
        # What was shown before and is gone is shown as none: values that several processes share cannot be taken away.
        self._shown |= set(found)
        for labels in self._shown:
            legs, old, oldest_s = found.get(labels, (0, 0, 0))
            metrics.OPEN_LEGS.labels(*labels).set(legs)
            metrics.OLD_CASES.labels(*labels).set(old)
            metrics.OLDEST_OPEN_LEG.labels(*labels).set(oldest_s)
        if any(old for _, old, _ in found.values()):
            await self._tell_old_cases(now, old_before)

    async def _tell_old_cases(self, now: dt.datetime, old_before: dt.datetime) -> None:
        """Once for each case, whichever process comes first."""
        for case in await self._context.ledger.raise_case_alarms(now, old_before):
            metrics.OLD_CASES_TOLD.labels(case.leg, case.bank_code).inc()
            log.error(
                "case_in_doubt_is_old",
                saga_id=str(case.saga_id),
                kind=case.kind,
                bank=case.bank_code,
                state=case.state,
                verb=case.verb,
                code=case.response_code,
                reference=case.reference,
                attempts=case.attempts,
                age_s=case.age_s(now),
            )

    def troubles(self) -> list[str]:
        """Why this process cannot settle now, as its last look at the ledger showed; empty when it can."""
        return [] if self._trouble is None else [self._trouble]

    async def _act(self, leg: BankLeg, send_before: float) -> None:
        try:
            await self._context.bank_legs.act(leg, send_before)
        finally:
            self._under_way.pop(leg.key, None)
