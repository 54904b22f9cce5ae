"""Inpatient stays: admission, fees in batches, trial, interim and final settlement; each can be taken back."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import cast

import msgspec

from settlement.cards.checks import check_usable
from settlement.engine.bill import request_digest
from settlement.engine.context import EngineContext
from settlement.engine.settle import Accepted, InStay, Settling, judge_known
from settlement.engine.splitting import DEPOSIT
from settlement.engine.waits import AGAIN
from settlement.errors import ServiceError
from settlement.ledger.stays import Admission, OpenStay, StayCall, StayVerdict
from settlement.terminals import TerminalIdentity
from terminal_sdk.crypto import sm3
from terminal_sdk.wire import (
    AdmissionRequest,
    CancellationRequest,
    DepositRequest,
    FeeLine,
    FeesRequest,
    Quote,
    QuoteRequest,
    SettlementRequest,
    Stay,
    StayBatch,
    StaySettlement,
    StaySettlementRequest,
    StayState,
    TrialRequest,
    VisitType,
    WithdrawalRequest,
)

LINES_MAX = 20_000
DEPOSIT_LINES_FROM = 99_001
"""Fees of a stay have lower numbers."""
ADMITTED_DAYS_BACK = 366
_REFUSALS = {
    "key_reused": "IDEMPOTENCY_KEY_REUSED",
    "number_used": "STAY_NUMBER_USED",
    "cancelled": "STAY_CANCELLED",
    "discharged": "STAY_DISCHARGED",
    "line_used": "STAY_LINE_USED",
    "batch_unknown": "STAY_BATCH_UNKNOWN",
    "settled": "STAY_BATCH_SETTLED",
    "not_empty": "STAY_NOT_EMPTY",
}
_Change = AdmissionRequest | FeesRequest | WithdrawalRequest | CancellationRequest


class Stays:
    """Stays of institutions. Raises ``ServiceError`` for every refusal, and then nothing has changed."""

    def __init__(self, context: EngineContext, settling: Settling) -> None:
        self._context = context
        self._book = context.stays
        self._settling = settling

    async def admit(self, who: TerminalIdentity, request: AdmissionRequest) -> Stay:
        """Admit a card's person, or find the stay that this key already stands for."""
        known = await self._known(who, request, "admission", _digest(request))
        if known is not None:
            return await self.view(who, known)
        card = await self._context.cards.load(request.card.card_number)
        check_usable(card, request.card, self._context.clock.now(), without_insurance=True)
        today = self._context.today()
        if not today - dt.timedelta(days=ADMITTED_DAYS_BACK) <= request.admitted_on <= today:
            raise ServiceError("SERVICE_DATE_OUT_OF_RANGE", field="admitted_on")
        call = self._call(who, card.person_id, self._context.ids.uuid(), request)
        verdict = await self._book.admit(
            call,
            terminal_id=who.terminal_id,
            stay_no=request.stay_no,
            visit_type=request.visit_type,
            card_id=card.card_id,
            admitted_on=request.admitted_on,
        )
        _demand(verdict, "admitted", field="stay_no")
        return await self.view(who, verdict.stay_id)

    async def upload(self, who: TerminalIdentity, stay_id: uuid.UUID, request: FeesRequest) -> Stay:
        """Add a batch of fees, or find that this key already did."""
        stay = await self._stay(who, stay_id)
        if await self._known(who, request, "fees", _digest(request, stay_id)) is not None:
            return await self.view(who, stay_id)
        if sum(line.amount_fen for line in request.lines) != request.total_fen:
            raise ServiceError("LINES_DO_NOT_ADD_UP", field="total_fen")
        if len({line.line_no for line in request.lines}) != len(request.lines):
            raise ServiceError("DUPLICATE_LINE_NO", field="lines")
        today = self._context.today()
        if any(not stay.admitted_on <= line.service_date <= today for line in request.lines):
            raise ServiceError(
                "SERVICE_DATE_OUT_OF_RANGE",
                "A service of a stay lies between the day of admission and today.",
                field="lines",
            )
        summary = await self._book.summary(stay)
        standing = sum(batch["lines"] for batch in summary["batches"] if not batch["withdrawn"])
        if standing + len(request.lines) > LINES_MAX:
            raise ServiceError("STAY_TOO_LARGE", field="lines")
        verdict = await self._book.upload(self._call(who, stay.person_id, stay_id, request), request.lines)
        _demand(verdict, "uploaded", field="lines")
        return await self.view(who, stay_id)

    async def withdraw(
        self, who: TerminalIdentity, stay_id: uuid.UUID, batch_no: int, request: WithdrawalRequest
    ) -> Stay:
        """Take a batch of fees back that no settlement holds."""
        stay = await self._stay(who, stay_id)
        call = self._call(who, stay.person_id, stay_id, request, batch_no)
        _demand(await self._book.withdraw(call, batch_no), "withdrawn")
        return await self.view(who, stay_id)

    async def cancel(self, who: TerminalIdentity, stay_id: uuid.UUID, request: CancellationRequest) -> Stay:
        """Take an admission back, of which no fees and no settlement stand."""
        stay = await self._stay(who, stay_id)
        _demand(await self._book.cancel(self._call(who, stay.person_id, stay_id, request)), "cancelled_now")
        return await self.view(who, stay_id)

    async def view(self, who: TerminalIdentity, stay_id: uuid.UUID) -> Stay:
        """A stay as it stands."""
        stay = await self._stay(who, stay_id)
        summary = await self._book.summary(stay)
        settlements = msgspec.convert(summary["settlements"], list[StaySettlement])
        return Stay(
            stay_id=str(stay.stay_id),
            stay_no=stay.stay_no,
            visit_type=stay.visit_type,
            state=_state(stay, settlements),
            admitted_on=stay.admitted_on,
            batches=msgspec.convert(summary["batches"], list[StayBatch]),
            open_lines=summary["open_lines"],
            open_fen=summary["open_fen"],
            settlements=settlements,
            deposit_left_fen=summary["deposit_left_fen"],
        )

    async def trial(self, who: TerminalIdentity, stay_id: uuid.UUID, request: TrialRequest) -> Quote:
        """Who would pay what of the open fees. Changes nothing; the quote binds as any does."""
        found = await self._open(who, stay_id, request.through)
        bill = QuoteRequest(
            visit_no=found.stay.stay_no,
            visit_type=cast("VisitType", found.stay.visit_type),
            service_date=max(line.service_date for line in found.lines),
            card=request.card,
            lines=cast("list[FeeLine]", found.lines),
            total_fen=sum(line.amount_fen for line in found.lines),
            remainder=request.remainder,
            consent=request.consent,
        )
        return await self._settling.quote(who, bill, found.stay, found.deposit_left_fen)

    async def settle(self, who: TerminalIdentity, stay_id: uuid.UUID, request: StaySettlementRequest) -> Accepted:
        """Settle the open fees, or find the settlement that this key already stands for."""
        digest = sm3(stay_id.bytes + request_digest(request))
        known = await self._context.ledger.find_key(who.institution_id, request.idempotency_key)
        if known is not None:
            return Accepted(judge_known(known, digest), None, AGAIN)
        if request.part == "final" and request.through is not None:
            raise ServiceError("BAD_FIELD", "A final settlement is of all open fees.", field="through")
        try:
            found = await self._open(who, stay_id, request.through)
            if sum(line.amount_fen for line in found.lines) != request.total_fen:
                raise ServiceError("STAY_TOTAL_DIFFERS", field="total_fen")  # noqa: TRY301 - judged with the rest
        except ServiceError:
            # The same key may have settled them since it was looked up.
            known = await self._context.ledger.find_key(who.institution_id, request.idempotency_key)
            if known is None:
                raise
            return Accepted(judge_known(known, digest), None, AGAIN)
        bill = SettlementRequest(
            idempotency_key=request.idempotency_key,
            visit_no=found.stay.stay_no,
            visit_type=cast("VisitType", found.stay.visit_type),
            service_date=max(line.service_date for line in found.lines),
            card=request.card,
            lines=cast("list[FeeLine]", found.lines),
            total_fen=request.total_fen,
            proof=request.proof,
            quote=request.quote,
            bank_ceiling_fen=request.bank_ceiling_fen,
            remainder=request.remainder,
            consent=request.consent,
            on_bank_decline=request.on_bank_decline,
            pin_block=request.pin_block,
            deadline_ms=request.deadline_ms,
            wait_ms=request.wait_ms,
        )
        return await self._settling.settle(who, bill, InStay(found.stay, request.part, digest, found.deposit_left_fen))

    async def deposit(self, who: TerminalIdentity, stay_id: uuid.UUID, request: DepositRequest) -> Accepted:
        """Take a deposit from the bank account, or find the settlement that this key already stands for."""
        digest = sm3(stay_id.bytes + request_digest(request))
        known = await self._context.ledger.find_key(who.institution_id, request.idempotency_key)
        if known is not None:
            return Accepted(judge_known(known, digest), None, AGAIN)
        stay = await self._stay(who, stay_id)
        if stay.cancelled_at is not None:
            raise ServiceError("STAY_CANCELLED")
        deposits = await self._book.deposits(stay)
        if deposits["discharged"]:
            raise ServiceError("STAY_DISCHARGED")
        # Two tills that ask for one deposit under two keys ask for the same line, which is settled once.
        line = FeeLine(
            line_no=DEPOSIT_LINES_FROM + deposits["asked"],
            item_code="DEPOSIT",
            item_name="住院预交金",
            category="C",
            amount_fen=request.amount_fen,
        )
        bill = SettlementRequest(
            idempotency_key=request.idempotency_key,
            visit_no=stay.stay_no,
            visit_type=cast("VisitType", DEPOSIT),
            service_date=self._context.today(),
            card=request.card,
            lines=[line],
            total_fen=request.amount_fen,
            proof=request.proof,
            bank_ceiling_fen=request.amount_fen,
            consent="without_insurance",  # which a deposit never touches, frozen or not
            pin_block=request.pin_block,
            deadline_ms=request.deadline_ms,
            wait_ms=request.wait_ms,
        )
        return await self._settling.settle(who, bill, InStay(stay, "deposit", digest))

    async def _stay(self, who: TerminalIdentity, stay_id: uuid.UUID) -> Admission:
        stay = await self._book.find(who.institution_id, stay_id)
        if stay is None:
            raise ServiceError("STAY_UNKNOWN")
        return stay

    async def _open(self, who: TerminalIdentity, stay_id: uuid.UUID, through: dt.date | None) -> OpenStay:
        stay = await self._stay(who, stay_id)
        if stay.cancelled_at is not None:
            raise ServiceError("STAY_CANCELLED")
        found = await self._book.open_lines(stay, through)
        if not any(line.amount_fen for line in found.lines):
            summary = await self._book.summary(stay)
            final = any(each["part"] == "final" for each in summary["settlements"])
            raise ServiceError("STAY_DISCHARGED" if final else "STAY_EMPTY")
        return found

    async def _known(self, who: TerminalIdentity, request: _Change, operation: str, digest: bytes) -> uuid.UUID | None:
        """The stay for which this key stands already. A known key is recognised before anything else is judged."""
        known = await self._context.ledger.find_key(who.institution_id, request.idempotency_key)
        if known is None:
            return None
        if known.operation != operation or known.body_digest != digest:
            raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
        return known.saga_id

    def _call(
        self, who: TerminalIdentity, person_id: int, stay_id: uuid.UUID, request: _Change, batch_no: int | None = None
    ) -> StayCall:
        now = self._context.clock.now()
        return StayCall(
            person_id=person_id,
            stay_id=stay_id,
            institution_id=who.institution_id,
            idempotency_key=request.idempotency_key,
            body_digest=_digest(request, stay_id, batch_no),
            today=self._context.today(),
            now=now,
            key_expires_at=self._context.key_expires_at(now),
        )


def _digest(request: _Change, stay_id: uuid.UUID | None = None, batch_no: int | None = None) -> bytes:
    """SM3 by which a repeated key is compared with its first request: the body, and what the path names of it. Of an
    admission the stay's id is ours.
    """
    if isinstance(request, AdmissionRequest) or stay_id is None:
        return sm3(msgspec.json.encode(request))
    return sm3(stay_id.bytes + str(batch_no).encode() + msgspec.json.encode(request))


def _demand(verdict: StayVerdict, done: str, field: str | None = None) -> None:
    """Return when it was done, now or before under the same key. Raises ``ServiceError`` for anything else."""
    if verdict.outcome in {done, "known"}:
        return
    code = _REFUSALS[verdict.outcome]
    if verdict.line_no is not None:
        raise ServiceError(code, f"Line {verdict.line_no} of the stay: {_WHY[code]}", field=field)
    raise ServiceError(code, field="idempotency_key" if code == "IDEMPOTENCY_KEY_REUSED" else field)


_WHY = {
    "STAY_LINE_USED": "a batch that stands has it already.",
    "STAY_BATCH_SETTLED": "it is settled or being settled; reverse that settlement first.",
}


def _state(stay: Admission, settlements: list[StaySettlement]) -> StayState:
    if stay.cancelled_at is not None:
        return "cancelled"
    final = next((each for each in settlements if each.part == "final"), None)
    if final is None:
        return "admitted"
    return "discharged" if final.settled else "discharging"
