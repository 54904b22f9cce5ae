"""Giving lines of a settled bill back, whole or in part: each refund a saga of its own, by the recorded split."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import msgspec

from settlement.engine.background import Background
from settlement.engine.bill import request_digest
from settlement.engine.context import EngineContext
from settlement.engine.undo import carry_back, undo_order
from settlement.errors import ServiceError
from settlement.ledger.records import SagaKey, UndoOrder, UndoVerdict
from settlement.policy.book import NoPlan
from settlement.policy.judge import judge_refund
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import RefundRequest

_ATTEMPTS = 5
_PLAN_GONE = "The plan version that judged the bill is not installed; nothing was refunded. Call the operator."


@dataclass(frozen=True, slots=True)
class Refunded:
    """Where a refund lives; ``work`` carries its bank leg on, or is None where nothing is open here."""

    key: SagaKey
    work: asyncio.Task[None] | None = None


class Refunding:
    """Refunds of settled bills. Raises ``ServiceError`` for every refusal, and then nothing has changed."""

    def __init__(self, context: EngineContext, background: Background) -> None:
        self._context = context
        self._background = background

    async def refund(self, who: TerminalIdentity, settlement_id: uuid.UUID, request: RefundRequest) -> Refunded:
        """Give lines back, or find the refund that this key already stands for.

        A known key is recognised before bill, lines or amounts are judged.
        """
        known = await self._context.ledger.find_key(who.institution_id, request.idempotency_key)
        if known is not None:
            if known.operation != "refund" or known.body_digest != request_digest(request) or known.key is None:
                raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
            return Refunded(known.key)
        if len({line.line_no for line in request.lines}) != len(request.lines):
            raise ServiceError("DUPLICATE_LINE_NO", field="lines")
        found = await self._context.ledger.find_saga(who.institution_id, settlement_id)
        if found is None or found[0] != "settlement":
            raise ServiceError("SETTLEMENT_UNKNOWN", field="settlement_id")
        self._background.check_room()
        for _ in range(_ATTEMPTS):
            send_before = self._context.send_before()
            order = await self._order(who, found[1], request)
            verdict = await self._context.ledger.request_undo(order)
            if verdict.outcome != "again":
                break
        place = SagaKey(order.person_id, order.acceptance_date, verdict.saga_id)
        # "known" under our own id: the connection broke at COMMIT, and the first try had taken effect.
        if verdict.outcome == "opened" or (verdict.outcome == "known" and verdict.saga_id == order.undo_id):
            return Refunded(place, carry_back(self._context, self._background, place, send_before))
        if verdict.outcome == "known":
            return Refunded(place)
        raise _refusal(verdict, request)

    async def _order(self, who: TerminalIdentity, key: SagaKey, request: RefundRequest) -> UndoOrder:
        """The order to the ledger; of a bill that a plan judged, with what the kept lines cost by the same plan."""
        order = await undo_order(self._context, who, key, request, request.lines)
        facts = await self._context.ledger.refund_facts(key)
        if facts is None:
            return order
        try:
            kept = judge_refund(facts, request.lines, self._context.plans)
        except NoPlan as error:
            raise ServiceError("PLAN_MISSING", _PLAN_GONE) from error
        return msgspec.structs.replace(
            order,
            shares=kept.shares,
            counters=kept.counters,
            own_expense_fen=kept.own_expense_fen,
            returned_before_fen=facts.returned_fen,
        )


def deposit_used(verdict: UndoVerdict) -> ServiceError:
    """Why a deposit, or so much of it, is not given back."""
    text = f"Of the stay's deposits {verdict.left_fen} fen are not used; reverse the bill that uses more first."
    return ServiceError("DEPOSIT_IN_USE", text)


def _refusal(verdict: UndoVerdict, request: RefundRequest) -> ServiceError:  # noqa: PLR0911 - one return per outcome
    match verdict.outcome:
        case "not_settled_yet":
            return ServiceError("REFUND_TOO_EARLY", retry_after_ms=1_000)
        case "taken_back":
            return ServiceError("NOTHING_TO_REFUND", settlement_id=str(verdict.saga_id))
        case "exceeds_line":
            place = next(at for at, line in enumerate(request.lines) if line.line_no == verdict.line_no)
            if verdict.left_fen == -1:
                return ServiceError("REFUND_LINE_UNKNOWN", field=f"lines[{place}].line_no")
            return ServiceError(
                "REFUND_EXCEEDS_LINE",
                f"Of line {verdict.line_no}, {verdict.left_fen} fen can still be refunded.",
                field=f"lines[{place}].amount_fen",
            )
        case "deposit_used":
            return deposit_used(verdict)
        case "again":
            return ServiceError("PERSON_BUSY", "Other refunds of it came first; try again.", retry_after_ms=1_000)
        case _:
            return ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
