"""Taking settlements back whole: early, late, repeated or instead of the original; never refused for any of these."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass

from settlement.banks.directory import Bank
from settlement.businessdate import business_date
from settlement.engine.background import Background
from settlement.engine.bill import request_digest
from settlement.engine.context import EngineContext
from settlement.engine.moves import BANK, BANK_RETURN
from settlement.errors import ServiceError
from settlement.ledger.records import ReversalOrder, SagaKey
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import ReversalByKeyRequest, ReversalRequest

_CAPTURE_FIRST_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a reversal stands: a saga of its own, the settlement itself (turned in place), or a buried key (no place).

    ``work`` carries its bank leg on, or is None where nothing is open here.
    """

    reversal_id: uuid.UUID
    key: SagaKey | None
    in_place: bool
    work: asyncio.Task[None] | None = None


class Reversing:
    """Reversals by settlement or by the key under which one was sent. Raises ``ServiceError``."""

    def __init__(self, context: EngineContext, background: Background) -> None:
        self._context = context
        self._background = background

    async def reverse(self, who: TerminalIdentity, settlement_id: uuid.UUID, request: ReversalRequest) -> Taken:
        """Take a settlement of this institution back whole."""
        found = await self._context.ledger.find_saga(who.institution_id, settlement_id)
        if found is None or found[0] != "settlement":
            raise ServiceError("SETTLEMENT_UNKNOWN", field="settlement_id")
        return await self._take_back(who, found[1], request)

    async def reverse_by_key(self, who: TerminalIdentity, request: ReversalByKeyRequest) -> Taken:
        """Take back what was sent under a key; if it has not arrived, see to it that it never can (rule 6)."""
        now = self._context.clock.now()
        outcome, saga_id = await self._context.ledger.bury_key(
            institution_id=who.institution_id,
            original_key=request.original_idempotency_key,
            own_key=request.idempotency_key,
            body_digest=request_digest(request),
            undo_id=self._context.ids.uuid(),
            now=now,
            expires_at=self._context.key_expires_at(now),
        )
        if outcome == "key_reused":
            raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
        if outcome == "buried":
            return Taken(saga_id, None, in_place=False)
        found = await self._context.ledger.find_saga(who.institution_id, saga_id)
        if found is None or found[0] != "settlement":
            raise ServiceError("SETTLEMENT_UNKNOWN", field="original_idempotency_key")
        return await self._take_back(who, found[1], request)

    async def _take_back(
        self, who: TerminalIdentity, key: SagaKey, request: ReversalRequest | ReversalByKeyRequest
    ) -> Taken:
        for attempt in range(_CAPTURE_FIRST_ATTEMPTS):
            send_before = self._context.send_before()
            order = await self._order(who, key, request)
            outcome, saga_id = await self._context.ledger.request_reversal(order)
            if outcome == "capture_first":
                # The bank's approval is durable: it is captured, then reversed as a settled bill.
                await self._capture(key, attempt)
                continue
            if outcome == "key_reused":
                raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
            place = SagaKey(key.person_id, key.acceptance_date, saga_id)
            in_place = saga_id == key.saga_id
            work = None
            if outcome == "opened":
                work = self._background.start(self._return(place, send_before), f"return {saga_id}")
            return Taken(saga_id, place, in_place, work)
        raise ServiceError("NOT_READY", retry_after_ms=1_000)

    async def _order(
        self, who: TerminalIdentity, key: SagaKey, request: ReversalRequest | ReversalByKeyRequest
    ) -> ReversalOrder:
        now = self._context.clock.now()
        return ReversalOrder(
            institution_id=who.institution_id,
            terminal_id=who.terminal_id,
            idempotency_key=request.idempotency_key,
            body_digest="\\x" + request_digest(request).hex(),
            undo_id=self._context.ids.uuid(),
            person_id=key.person_id,
            acceptance_date=key.acceptance_date,
            settlement_id=key.saga_id,
            reason=request.reason,
            verb=await self._verb(key, now),
            requested_at=now,
            posting_date=business_date(now, self._context.limits.cut_over),
            lease_until=self._context.lease_until(now),
            worker=self._context.worker,
            key_expires_at=self._context.key_expires_at(now),
        )

    async def _verb(self, key: SagaKey, now: dt.datetime) -> str:
        """Rule 5: void before the bank's cut-over, refund after it."""
        leg = await self._context.ledger.bank_leg(key, BANK)
        if leg is None or leg.bank_settlement_date is None:
            return "void"
        return (
            "void" if leg.bank_settlement_date == business_date(now, self._bank(leg.bank_code).cut_over) else "refund"
        )

    def _bank(self, code: str) -> Bank:
        return self._context.directory[code]

    async def _capture(self, key: SagaKey, attempt: int) -> None:
        leg = await self._context.ledger.bank_leg(key, BANK)
        if leg is not None and leg.state == "approved":
            await self._context.bank_legs.act(leg, self._context.send_before())
        elif attempt:
            await self._context.clock.sleep(0.1)

    async def _return(self, key: SagaKey, send_before: float) -> None:
        leg = await self._context.ledger.bank_leg(key, BANK_RETURN)
        if leg is not None and leg.state == "intended" and leg.fence == 1:
            await self._context.bank_legs.act(leg, send_before)
