"""The engine's face: what the API calls. Everything it raises is a ``ServiceError``."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from settlement.banks.port import BankAnswer, MessageIdentity
from settlement.db.outages import OUTAGES, REFUSALS, not_ready, reason
from settlement.engine import metrics
from settlement.engine.background import Background
from settlement.engine.context import EngineContext
from settlement.engine.receipts import receipt_text
from settlement.engine.recovery import Recovery
from settlement.engine.refund import Refunding
from settlement.engine.reverse import Reversing, Taken
from settlement.engine.settle import Accepted, Settling
from settlement.engine.stays import Stays
from settlement.engine.views import (
    bank_part,
    buried_reversal,
    insurance_left_out,
    plans_view,
    receipt_lines,
    refund_view,
    reversal_in_place,
    reversal_view,
    settlement_view,
    split_view,
)
from settlement.engine.waits import ALWAYS, RETURNS, Waits
from settlement.errors import ServiceError
from settlement.ledger.records import Row, SagaKey
from settlement.security import mask_name, mask_number
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import (
    AdmissionRequest,
    CancellationRequest,
    DepositRequest,
    FeesRequest,
    Quote,
    QuoteRequest,
    Receipt,
    Refund,
    RefundRequest,
    Reversal,
    ReversalByKeyRequest,
    ReversalRequest,
    Settlement,
    SettlementRequest,
    Stay,
    StaySettlementRequest,
    TrialRequest,
    WithdrawalRequest,
)

_POLL_S = 0.1
_UNDO_WAIT_S = 10.0
_AWAY_RETRY_MS = 2_000

log = structlog.get_logger("settlement.engine")


class SettlementEngine:
    """Settles, reverses, answers for the state of things, and recovers. One per process."""

    def __init__(self, context: EngineContext, standing_troubles: Sequence[str] = ()) -> None:
        self._standing_troubles = list(standing_troubles)
        self._context = context
        self._background = Background(context.limits.background_max)
        self._settling = Settling(context, self._background)
        self._reversing = Reversing(context, self._background)
        self._refunding = Refunding(context, self._background)
        self._stays = Stays(context, self._settling)
        self.recovery = Recovery(context, self._background)
        self._hurried = asyncio.Event()
        metrics.UNDER_WAY.set_function(lambda: self._background.size)
        metrics.BATCH_QUEUE.set_function(lambda: context.ledger.depth)

    async def start(self) -> None:
        """Begin recovery; legs left over from a crash are due already."""
        self.recovery.start()

    async def drain(self, timeout_s: float) -> int:
        """Stop claiming and wait for what is under way; returns how many tasks were left to the next start."""
        await self.recovery.stop()
        return await self._background.drain(timeout_s)

    def hurry(self) -> None:
        """Answer those who wait with what stands now: the process ends, and what is under way is recovery's."""
        self._hurried.set()

    @property
    def under_way(self) -> int:
        """How many sagas this process is working on now."""
        return self._background.size

    def hear(self, identity: MessageIdentity, answer: BankAnswer) -> None:
        """Take note of a bank's answer to a debit that nobody waits for any more."""
        self._background.start(self._context.bank_legs.hear(identity, answer), f"late {identity.reference}")

    async def quote(self, who: TerminalIdentity, request: QuoteRequest) -> Quote:
        """Who would pay what for this bill."""
        with _outages_told():
            return await self._settling.quote(who, request)

    async def settle(self, who: TerminalIdentity, request: SettlementRequest, waits: Waits = ALWAYS) -> Settlement:
        """Settle a bill, or give the first answer again. Not final after ``wait_ms``: the till asks for the status."""
        with _outages_told():
            with _nothing_done():
                accepted = await self._settling.settle(who, request)
            return await self._told(accepted, request.wait_ms, waits)

    async def settle_stay(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: StaySettlementRequest, waits: Waits = ALWAYS
    ) -> Settlement:
        """Settle a stay's open fees, or give the first answer again; as ``settle``."""
        with _outages_told():
            with _nothing_done():
                accepted = await self._stays.settle(who, stay_id, request)
            return await self._told(accepted, request.wait_ms, waits)

    async def deposit(
        self, who: TerminalIdentity, stay_id: uuid.UUID, request: DepositRequest, waits: Waits = ALWAYS
    ) -> Settlement:
        """Take a deposit for a stay, or give the first answer again; as ``settle``."""
        with _outages_told():
            with _nothing_done():
                accepted = await self._stays.deposit(who, stay_id, request)
            return await self._told(accepted, request.wait_ms, waits)

    async def trial(self, who: TerminalIdentity, stay_id: uuid.UUID, request: TrialRequest) -> Quote:
        """Who would pay what of a stay's open fees."""
        with _outages_told():
            return await self._stays.trial(who, stay_id, request)

    async def admit(self, who: TerminalIdentity, request: AdmissionRequest) -> Stay:
        """Admit a patient, or give the stay again that the key stands for."""
        with _outages_told():
            return await self._stays.admit(who, request)

    async def upload_fees(self, who: TerminalIdentity, stay_id: uuid.UUID, request: FeesRequest) -> Stay:
        """Add a batch of fees to a stay."""
        with _outages_told():
            return await self._stays.upload(who, stay_id, request)

    async def withdraw_fees(
        self, who: TerminalIdentity, stay_id: uuid.UUID, batch_no: int, request: WithdrawalRequest
    ) -> Stay:
        """Take a batch of fees back."""
        with _outages_told():
            return await self._stays.withdraw(who, stay_id, batch_no, request)

    async def cancel_stay(self, who: TerminalIdentity, stay_id: uuid.UUID, request: CancellationRequest) -> Stay:
        """Take an admission back."""
        with _outages_told():
            return await self._stays.cancel(who, stay_id, request)

    async def stay(self, who: TerminalIdentity, stay_id: uuid.UUID) -> Stay:
        """A stay of this institution as it stands."""
        with _outages_told():
            return await self._stays.view(who, stay_id)

    async def status(self, who: TerminalIdentity, settlement_id: uuid.UUID) -> Settlement:
        """What became of a settlement of this institution."""
        with _outages_told():
            found = await self._context.ledger.find_saga(who.institution_id, settlement_id)
            if found is None or found[0] != "settlement":
                raise ServiceError("SETTLEMENT_UNKNOWN")
            return settlement_view(await self._status_row(found[1]))

    async def status_by_key(self, who: TerminalIdentity, key: str) -> Settlement:
        """What became of the settlement sent under this key."""
        with _outages_told():
            known = await self._context.ledger.find_key(who.institution_id, key)
            if known is not None and known.operation == "tombstone":
                raise ServiceError("REVERSED_BEFORE_ARRIVAL")
            if known is None or known.operation != "settlement" or known.key is None:
                raise ServiceError("SETTLEMENT_UNKNOWN")
            return settlement_view(await self._status_row(known.key))

    async def reverse(
        self, who: TerminalIdentity, settlement_id: uuid.UUID, request: ReversalRequest, waits: Waits = ALWAYS
    ) -> Reversal:
        """Take a settlement back whole."""
        with _outages_told():
            taken = await self._reversing.reverse(who, settlement_id, request)
            view = await self._taken(taken, request.idempotency_key, waits)
        metrics.REVERSALS.labels(view.state).inc()
        return view

    async def reverse_by_key(
        self, who: TerminalIdentity, request: ReversalByKeyRequest, waits: Waits = ALWAYS
    ) -> Reversal:
        """Take back what was sent under a key, also if it never arrived."""
        with _outages_told():
            taken = await self._reversing.reverse_by_key(who, request)
            view = await self._taken(taken, request.idempotency_key, waits)
        metrics.REVERSALS.labels(view.state).inc()
        return view

    async def reversal_status(self, who: TerminalIdentity, reversal_id: uuid.UUID) -> Reversal:
        """What became of a reversal of this institution, by its own id or that of the settlement turned in place."""
        with _outages_told():
            return await self._reversal_status(who, reversal_id)

    async def refund(
        self, who: TerminalIdentity, settlement_id: uuid.UUID, request: RefundRequest, waits: Waits = ALWAYS
    ) -> Refund:
        """Give lines of a settled bill back, or give the first answer again."""
        with _outages_told():
            refunded = await self._refunding.refund(who, settlement_id, request)
            if refunded.work is not None:
                await self._carried_back(refunded.work, waits)
            view = refund_view(await self._undo_row(refunded.key))
        metrics.REFUNDS.labels(view.state).inc()
        return view

    async def refund_status(self, who: TerminalIdentity, refund_id: uuid.UUID) -> Refund:
        """What became of a refund of this institution."""
        with _outages_told():
            found = await self._context.ledger.find_saga(who.institution_id, refund_id)
            if found is None or found[0] != "refund":
                raise ServiceError("REFUND_UNKNOWN")
            return refund_view(await self._undo_row(found[1]))

    async def receipt(self, who: TerminalIdentity, receipt_id: uuid.UUID) -> Receipt:
        """The receipt of a settled bill or of a completed reversal or refund of this institution."""
        with _outages_told():
            found = await self._context.ledger.find_saga(who.institution_id, receipt_id)
            facts = None if found is None else await self._context.ledger.receipt_facts(found[1])
            if facts is None:
                raise ServiceError("RECEIPT_UNKNOWN")
            return await self._receipt(receipt_id, facts)

    def ready(self) -> list[str]:
        """Why this process should get no traffic now; empty when it may."""
        return [*self._standing_troubles, *self.recovery.troubles()]

    async def _told(self, accepted: Accepted, wait_ms: int, waits: Waits) -> Settlement:
        if accepted.bank is None:
            view = settlement_view(await self._status_row(accepted.key))
        else:
            with waits(accepted.bank) as granted:
                wait_s = wait_ms / 1_000 if granted else 0.0
                view = await self._await_settlement(accepted.key, accepted.work, wait_s)
        metrics.SETTLEMENTS.labels(view.state).inc()
        return view

    async def _await_settlement(self, key: SagaKey, work: asyncio.Task[None] | None, wait_s: float) -> Settlement:
        deadline = self._context.clock.monotonic() + wait_s
        if work is not None:
            await self._patient(work, wait_s)
        while True:
            view = settlement_view(await self._status_row(key))
            over = self._hurried.is_set() or self._context.clock.monotonic() >= deadline
            if view.state != "pending" or work is not None or over:
                return view
            await self._context.clock.sleep(_POLL_S)

    async def _patient(self, work: asyncio.Task[None], wait_s: float) -> None:
        """Wait for a saga's step. A till that goes away does not end it: it is waited for, never awaited."""
        hurried = asyncio.create_task(self._hurried.wait())
        try:
            await asyncio.wait({work, hurried}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()

    async def _carried_back(self, work: asyncio.Task[None], waits: Waits) -> None:
        with waits(RETURNS) as granted:
            await self._patient(work, _UNDO_WAIT_S if granted else 0.0)

    async def _reversal_status(self, who: TerminalIdentity, reversal_id: uuid.UUID) -> Reversal:
        found = await self._context.ledger.find_saga(who.institution_id, reversal_id)
        if found is None:
            raise ServiceError("SETTLEMENT_UNKNOWN")
        kind, key = found
        if kind == "reversal":
            row = await self._undo_row(key)
            return reversal_view(row, row["idempotency_key"])
        row = await self._status_row(key)
        if kind != "settlement" or row["decision"] != "backward":
            raise ServiceError("SETTLEMENT_UNKNOWN")
        return reversal_in_place(row, row["idempotency_key"])

    async def _status_row(self, key: SagaKey) -> Row:
        row = await self._context.ledger.settlement_status(key)
        if row is None:
            raise ServiceError("SETTLEMENT_UNKNOWN")
        return row

    async def _taken(self, taken: Taken, reversal_key: str, waits: Waits) -> Reversal:
        if taken.work is not None:
            await self._carried_back(taken.work, waits)
        if taken.key is None:
            return buried_reversal(taken.reversal_id, reversal_key)
        if taken.in_place:
            # What was turned back just now is due at once; the bank need not wait for the next round.
            await self.recovery.sweep()
            return reversal_in_place(await self._status_row(taken.key), reversal_key)
        return reversal_view(await self._undo_row(taken.key), reversal_key)

    async def _undo_row(self, key: SagaKey) -> Row:
        row = await self._context.ledger.undo_status(key)
        if row is None:
            raise ServiceError("SETTLEMENT_UNKNOWN")
        return row

    async def _receipt(self, receipt_id: uuid.UUID, facts: Row) -> Receipt:
        lines = receipt_lines(facts)
        name = await self._context.cards.patient_name(facts["person_id"])
        number = self._context.vault.card_number.open(facts["card_number_sealed"], facts["person_id"], facts["card_id"])
        split = split_view(facts)
        bank = bank_part(facts, facts["bank_amount_fen"])
        receipt = Receipt(
            receipt_id=str(receipt_id),
            kind=facts["kind"],
            settlement_id=str(facts["settlement_id"]),
            institution_id=facts["institution_id"],
            institution_name=facts["institution_name"],
            terminal_id=facts["terminal_id"],
            visit_no=facts["visit_no"],
            patient=mask_name(name),
            card_number=mask_number(number),
            service_date=facts["service_date"],
            posting_date=facts["posting_date"],
            issued_at=facts["issued_at"],
            lines=lines,
            split=split,
            bank=bank,
            bank_notice=facts["bank_notice"],
            insurance_notice=insurance_left_out(facts),
            plans=plans_view(facts),
            text="",
        )
        known = None if bank is None else self._context.directory.banks.get(bank.bank)
        text = receipt_text(receipt, None if known is None else known.name_zh)
        return msgspec.structs.replace(receipt, text=text)


@contextlib.contextmanager
def _outages_told() -> Iterator[None]:
    """A ledger that is away is told as such: what was asked may have taken effect, the same key finds out."""
    try:
        yield
    except OUTAGES as error:
        log.warning("database_away", reason=reason(error), error=type(error).__name__)
        raise ServiceError(
            "NOT_READY", f"{not_ready(error)} Ask again under the same key.", retry_after_ms=_AWAY_RETRY_MS
        ) from error


@contextlib.contextmanager
def _nothing_done() -> Iterator[None]:
    """Around what either has taken effect when it returns or has changed nothing, unless the connection broke."""
    try:
        yield
    except ServiceError as error:
        error.nothing_done = True
        raise
    except REFUSALS as error:
        raise ServiceError("NOT_READY", not_ready(error), retry_after_ms=_AWAY_RETRY_MS, nothing_done=True) from error
