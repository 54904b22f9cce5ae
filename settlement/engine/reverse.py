"""Taking settlements back whole: early, late, repeated or instead of the original; never refused for any of these."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from settlement.engine.background import Background
from settlement.engine.bill import request_digest
from settlement.engine.context import EngineContext
from settlement.engine.moves import BANK
from settlement.engine.refund import deposit_used
from settlement.engine.undo import carry_back, undo_order
from settlement.errors import ServiceError
from settlement.ledger.records import SagaKey
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
            order = await undo_order(self._context, who, key, request)
            verdict = await self._context.ledger.request_undo(order)
            if verdict.outcome == "capture_first":
                # The bank's approval is durable: it is captured, then reversed as a settled bill.
                await self._capture(key, attempt)
                continue
            if verdict.outcome == "deposit_used":
                raise deposit_used(verdict)
            if verdict.outcome == "key_reused":
                raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
            place = SagaKey(key.person_id, key.acceptance_date, verdict.saga_id)
            work = None
            # Our own id also where the connection broke at COMMIT and the repeated call finds the key known.
            if verdict.saga_id == order.undo_id:
                work = carry_back(self._context, self._background, place, send_before)
            return Taken(verdict.saga_id, place, in_place=verdict.saga_id == key.saga_id, work=work)
        raise ServiceError("NOT_READY", retry_after_ms=1_000)

    async def _capture(self, key: SagaKey, attempt: int) -> None:
        leg = await self._context.ledger.bank_leg(key, BANK)
        if leg is not None and leg.state == "approved":
            await self._context.bank_legs.act(leg, self._context.send_before())
        elif attempt:
            await self._context.clock.sleep(0.1)
