"""What reversals and refunds have in common: the order to the ledger, and carrying the bank's share back."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Literal

from settlement.businessdate import business_date
from settlement.engine.background import Background
from settlement.engine.bill import request_digest
from settlement.engine.context import EngineContext
from settlement.engine.moves import BANK, BANK_RETURN
from settlement.ledger.records import SagaKey, UndoOrder
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import RefundLine, RefundRequest, ReversalByKeyRequest, ReversalRequest


async def undo_order(
    context: EngineContext,
    who: TerminalIdentity,
    key: SagaKey,
    request: ReversalRequest | ReversalByKeyRequest | RefundRequest,
    lines: Sequence[RefundLine] | None = None,
) -> UndoOrder:
    """The order to take a settlement back: whole, or with ``lines`` in part. It claims the bank leg it may open."""
    now = context.clock.now()
    return UndoOrder(
        kind="reversal" if lines is None else "refund",
        institution_id=who.institution_id,
        terminal_id=who.terminal_id,
        idempotency_key=request.idempotency_key,
        body_digest="\\x" + request_digest(request).hex(),
        undo_id=context.ids.uuid(),
        person_id=key.person_id,
        acceptance_date=key.acceptance_date,
        settlement_id=key.saga_id,
        lines=None if lines is None else list(lines),
        reason=request.reason,
        verb=await _verb(context, key, now),
        requested_at=now,
        posting_date=business_date(now, context.limits.cut_over),
        lease_until=context.lease_until(now),
        worker=context.worker,
        key_expires_at=context.key_expires_at(now),
    )


def carry_back(context: EngineContext, background: Background, key: SagaKey, send_before: float) -> asyncio.Task[None]:
    """Begin to give the bank its share of an undo that was opened just now."""
    return background.start(_give_back(context, key, send_before), f"return {key.saga_id}")


async def _verb(context: EngineContext, key: SagaKey, now: dt.datetime) -> Literal["void", "refund"]:
    """Rule 5: void before the bank's cut-over, refund after it. (A part of a debit is a refund in any case.)"""
    leg = await context.ledger.bank_leg(key, BANK)
    if leg is None or leg.bank_settlement_date is None:
        return "void"
    today = business_date(now, context.directory[leg.bank_code].cut_over)
    return "void" if leg.bank_settlement_date == today else "refund"


async def _give_back(context: EngineContext, key: SagaKey, send_before: float) -> None:
    leg = await context.ledger.bank_leg(key, BANK_RETURN)
    # A leg that recovery has claimed meanwhile (fence above the first) is no longer this task's to send.
    if leg is not None and leg.state == "intended" and leg.fence == 1:
        await context.bank_legs.act(leg, send_before)
