"""What every part of the engine works with: its partners, its limits, and the moments derived from the clock."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from settlement.banks.directory import Directory
from settlement.businessdate import business_date
from settlement.cards.registry import CardRegistry
from settlement.cards.vault import Vault
from settlement.clock import Clock
from settlement.engine.bank_legs import BankLegs
from settlement.engine.splitting import CatalogReader
from settlement.ids import IdSource
from settlement.ledger.ledger import Ledger
from settlement.ledger.stays import StayBook
from settlement.policy.book import PlanBook


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Figures that bound the engine; times carry their unit.

    ``send_share_percent``: the part of a lease in which a message may still be written to a bank ·
    ``recovery_batch``: legs that recovery works on at a time, ``recovery_per_bank``: those of one bank, about (what is
    claimed at once comes on top).
    """

    cut_over: dt.time = dt.time(0)
    quote_ttl_s: int = 300
    proof_max_age_s: int = 300
    claim_lease_ms: int = 20_000
    send_share_percent: int = 50
    recovery_interval_ms: int = 500
    recovery_batch: int = 100
    recovery_per_bank: int = 25
    in_doubt_alarm_s: int = 300
    idempotency_retention_days: int = 400
    hold_attempts: int = 20
    background_max: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """The engine's partners. ``worker`` names this process in claims; the keys are 32 bytes."""

    ledger: Ledger
    cards: CardRegistry
    vault: Vault
    directory: Directory
    bank_legs: BankLegs
    clock: Clock
    ids: IdSource
    limits: EngineLimits
    worker: str
    stays: StayBook
    plans: PlanBook
    catalog: CatalogReader
    quote_key: bytes
    legacy_master_key: bytes

    def today(self) -> dt.date:
        """The open business date."""
        return business_date(self.clock.now(), self.limits.cut_over)

    def lease_until(self, now: dt.datetime) -> dt.datetime:
        """Until when a claim taken now holds."""
        return now + dt.timedelta(milliseconds=self.limits.claim_lease_ms)

    def send_before(self) -> float:
        """The monotonic time until which a claim taken now allows a message to be written."""
        return self.clock.monotonic() + self.limits.claim_lease_ms * self.limits.send_share_percent / 100_000

    def key_expires_at(self, now: dt.datetime) -> dt.datetime:
        """Until when an idempotency key used now is remembered."""
        return now + dt.timedelta(days=self.limits.idempotency_retention_days)
