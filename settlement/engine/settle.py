"""From a checked card to a held, and where no bank is needed posted, settlement: quote, prove, hold, debit."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass

from settlement.businessdate import business_date
from settlement.cards.checks import check_usable, insurance_notice
from settlement.cards.model import CardContext
from settlement.cards.proof import verify_proof
from settlement.engine.background import Background
from settlement.engine.bank_legs import Pin
from settlement.engine.bill import bill_digest, check_bill, check_consent, request_digest
from settlement.engine.context import EngineContext
from settlement.engine.moves import BANK
from settlement.engine.quotes import QuoteTerms, open_quote, seal_quote
from settlement.engine.splitting import Judged, Splitting
from settlement.engine.waits import AGAIN
from settlement.errors import ServiceError
from settlement.ledger.records import HoldRequest, HoldVerdict, KnownKey, SagaKey, StayPartOf
from settlement.ledger.stays import Admission
from settlement.policy.judge import moves_of, plan_used
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import BalanceAfter, CardProof, Quote, QuoteRequest, SettlementRequest, StayBill

_BUSY_RETRY_MS = 1_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the patient agreed to: the text the card signed, and at most how much from the bank (fen)."""

    text: str
    bank_fen: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A settlement that stands in the ledger; ``work`` carries its bank leg on, or is None.

    ``bank``: whose answer may be open still; None: nobody's.
    """

    key: SagaKey
    work: asyncio.Task[None] | None
    bank: str | None


@dataclass(frozen=True, slots=True)
class InStay:
    """Of which stay a bill is the interim or final settlement, or a deposit. ``digest``: of the request for it ·
    ``deposit_fen``: what of the stay's deposits it may use.
    """

    stay: Admission
    part: StayBill
    digest: bytes
    deposit_fen: int = 0

    def part_of(self) -> StayPartOf:
        """As the ledger takes it."""
        return StayPartOf(stay_id=self.stay.stay_id, part=self.part, version=self.stay.version)


class PersonGate:
    """Lets one hold per person through at a time in this process, so that splits are not made on outdated balances.

    The database refuses an outdated split in any case; this saves the attempts. Bounded: idle gates are forgotten.
    """

    _KEEP = 4_096

    def __init__(self) -> None:
        self._gates: OrderedDict[int, asyncio.Lock] = OrderedDict()

    def of(self, person_id: int) -> asyncio.Lock:
        """The gate of a person."""
        gate = self._gates.setdefault(person_id, asyncio.Lock())
        self._gates.move_to_end(person_id)
        while len(self._gates) > self._KEEP:
            oldest = next(iter(self._gates))
            if self._gates[oldest].locked():
                break
            del self._gates[oldest]
        return gate


class Settling:
    """Quotes and settlements. Raises ``ServiceError`` for every refusal, and then nothing has changed."""

    def __init__(self, context: EngineContext, background: Background) -> None:
        self._context = context
        self._background = background
        self._gate = PersonGate()
        self._splitting = Splitting(context.plans, context.catalog)

    async def quote(
        self, who: TerminalIdentity, request: QuoteRequest, stay: Admission | None = None, deposit_fen: int = 0
    ) -> Quote:
        """Say who would pay what, bind it to this bill, and let it expire. Changes nothing. ``stay``,
        ``deposit_fen``: whose it is, and what of its deposits may be used.
        """
        if stay is None:
            check_bill(request, self._context.today())
        card = await self._load(request)
        _check_card(request, card, self._context.clock.now(), stay)
        return self._offer(who, request, card, await self._splitting.judged(who, request, card, stay, deposit_fen))

    async def settle(
        self, who: TerminalIdentity, request: SettlementRequest, in_stay: InStay | None = None
    ) -> Accepted:
        """Settle one bill, or find the settlement that this key already stands for.

        A known key is recognised before the bill, the card, its counter or its proof is judged. ``in_stay``: the bill
        was made from a stay's fees.
        """
        digest = request_digest(request) if in_stay is None else in_stay.digest
        known, card = await asyncio.gather(
            self._context.ledger.find_key(who.institution_id, request.idempotency_key),
            self._load(request),
            return_exceptions=True,
        )
        if isinstance(known, BaseException):
            raise known
        if known is not None:
            return Accepted(judge_known(known, digest), None, AGAIN)
        try:
            if in_stay is None:
                check_bill(request, self._context.today())
            check_consent(request)
            if isinstance(card, BaseException):
                raise card
            return await self._settle_anew(who, request, digest, card, in_stay)
        except ServiceError:
            # The same key may have been settled since it was looked up: card counter and balances then show this very
            # bill, and refusing it for them would be wrong.
            known = await self._context.ledger.find_key(who.institution_id, request.idempotency_key)
            if known is None:
                raise
            return Accepted(judge_known(known, digest), None, AGAIN)

    async def _settle_anew(
        self,
        who: TerminalIdentity,
        request: SettlementRequest,
        digest: bytes,
        card: CardContext,
        in_stay: InStay | None,
    ) -> Accepted:
        agreement = self._agreement(who, request)
        self._background.check_room()
        _check_card(request, card, self._context.clock.now(), None if in_stay is None else in_stay.stay)
        await verify_proof(
            card,
            request.proof,
            card_number=request.card.card_number,
            terminal_id=who.terminal_id,
            visit_no=request.visit_no,
            total_fen=request.total_fen,
            agreed=agreement.text,
            now=self._context.clock.now(),
            max_age_s=self._context.limits.proof_max_age_s,
            legacy_master_key=self._context.legacy_master_key,
        )
        async with self._gate.of(card.person_id):
            return await self._hold(who, request, digest, card, agreement, in_stay)

    def _agreement(self, who: TerminalIdentity, request: SettlementRequest) -> Agreement:
        if request.quote is None:
            ceiling_fen = request.bank_ceiling_fen or 0
            return Agreement(f"ceiling:{ceiling_fen}", ceiling_fen)
        terms, digest = open_quote(
            request.quote,
            self._context.quote_key,
            bill=bill_digest(who.institution_id, request),
            now=self._context.clock.now(),
        )
        return Agreement(f"quote:{digest}", terms.bank_fen)

    async def _hold(
        self,
        who: TerminalIdentity,
        request: SettlementRequest,
        digest: bytes,
        card: CardContext,
        agreement: Agreement,
        in_stay: InStay | None,
    ) -> Accepted:
        # The balances were read before this bill's turn came; they may be outdated either way.
        judged_at_its_turn = False
        for _ in range(self._context.limits.hold_attempts):
            judged = await self._judged(who, request, card, in_stay)
            if judged.split.bank_fen > agreement.bank_fen:
                if judged_at_its_turn:
                    raise ServiceError("AGREEMENT_EXCEEDED", quote=self._offer(who, request, card, judged))
                card = await self._load(request)
                judged_at_its_turn = True
                continue
            send_before = self._context.send_before()
            order = self._hold_request(who, request, digest, card, agreement, judged, in_stay)
            verdict = await self._context.ledger.hold(order)
            # "known" under our own id: the connection broke at COMMIT, and the first try had taken effect.
            ours = verdict.outcome == "known" and verdict.key.saga_id == order.settlement_id
            if verdict.outcome == "held" or ours:
                return self._accepted(who, request, order, verdict, send_before)
            fresh = await self._after_refusal(request, card, verdict)
            if fresh is None:
                return Accepted(verdict.key, None, AGAIN)
            card, judged_at_its_turn = fresh, True
        raise ServiceError("PERSON_BUSY", retry_after_ms=_BUSY_RETRY_MS)

    async def _judged(
        self, who: TerminalIdentity, request: SettlementRequest, card: CardContext, in_stay: InStay | None
    ) -> Judged:
        if in_stay is None:
            return await self._splitting.judged(who, request, card)
        return await self._splitting.judged(who, request, card, in_stay.stay, in_stay.deposit_fen)

    async def _load(self, request: QuoteRequest | SettlementRequest) -> CardContext:
        return await self._context.cards.load(request.card.card_number, request.service_date)

    async def _after_refusal(
        self, request: SettlementRequest, card: CardContext, verdict: HoldVerdict
    ) -> CardContext | None:
        """The card's context to try again with; None if the key already stands for this very bill."""
        match verdict.outcome:
            case "known":
                return None
            case "again":
                return card
            case "stale" | "card_changed":
                fresh = await self._load(request)
                _check_card(request, fresh, self._context.clock.now())
                return fresh
            case "busy":
                # Rule 8: bounded by the deadline of the bill that is open.
                raise ServiceError("PERSON_BUSY", retry_after_ms=_BUSY_RETRY_MS)
            case "counter_replayed":
                raise ServiceError("CARD_COUNTER_REPLAYED", field="proof.counter")
            case "already_settled":
                raise ServiceError("BILL_ALREADY_SETTLED", field="lines", settlement_id=str(verdict.key.saga_id))
            case "stay_changed":
                raise ServiceError("STAY_CHANGED")
            case "tombstoned":
                raise ServiceError("REVERSED_BEFORE_ARRIVAL", field="idempotency_key")
            case _:
                raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")

    def _accepted(
        self,
        who: TerminalIdentity,
        request: SettlementRequest,
        order: HoldRequest,
        verdict: HoldVerdict,
        send_before: float,
    ) -> Accepted:
        if order.bank_fen == 0:
            return Accepted(verdict.key, None, None)
        pin = None if request.pin_block is None else Pin(bytes.fromhex(request.pin_block), who.pin_key)
        work = self._background.start(self._debit(verdict.key, pin, send_before), f"debit {verdict.key.saga_id}")
        return Accepted(verdict.key, work, order.bank_code)

    async def _debit(self, key: SagaKey, pin: Pin | None, send_before: float) -> None:
        leg = await self._context.ledger.bank_leg(key, BANK)
        # A leg that recovery has claimed meanwhile (fence above the hold's) is no longer this task's to send.
        if leg is not None and leg.state == "intended" and leg.fence == 1:
            await self._context.bank_legs.debit(leg, pin, send_before)

    def _offer(
        self, who: TerminalIdentity, request: QuoteRequest | SettlementRequest, card: CardContext, judged: Judged
    ) -> Quote:
        split = judged.split
        expires_at = self._context.clock.now() + dt.timedelta(seconds=self._context.limits.quote_ttl_s)
        terms = QuoteTerms(
            bill=bill_digest(who.institution_id, request),
            bank_fen=split.bank_fen,
            account_version=card.account_version,
            expires_at=expires_at,
        )
        token, digest = seal_quote(terms, self._context.quote_key)
        return Quote(
            token=token,
            digest=digest,
            split=split,
            balance_after=BalanceAfter(
                current_year_fen=card.current_year_available_fen - split.current_year_fen,
                carried_over_fen=card.carried_over_available_fen - split.carried_over_fen,
            ),
            bank_notice=judged.notice,
            expires_at=expires_at,
            insurance_notice=insurance_notice(card),
            plans=[plan_used(record) for record in judged.policy or ()],
        )

    def _hold_request(
        self,
        who: TerminalIdentity,
        request: SettlementRequest,
        digest: bytes,
        card: CardContext,
        agreement: Agreement,
        judged: Judged,
        in_stay: InStay | None,
    ) -> HoldRequest:
        split = judged.split
        now = self._context.clock.now()
        today = business_date(now, self._context.limits.cut_over)
        return HoldRequest(
            person_id=card.person_id,
            acceptance_date=today,
            settlement_id=self._context.ids.uuid(),
            institution_id=who.institution_id,
            terminal_id=who.terminal_id,
            card_id=card.card_id,
            card_counter=request.proof.counter if isinstance(request.proof, CardProof) else None,
            idempotency_key=request.idempotency_key,
            body_digest="\\x" + digest.hex(),
            visit_no=request.visit_no,
            visit_type=request.visit_type,
            service_date=request.service_date,
            accepted_at=now,
            deadline_at=now + dt.timedelta(milliseconds=request.deadline_ms),
            account_version=card.account_version,
            bill_fen=split.total_fen,
            own_expense_fen=split.own_expense_fen,
            pooled_fund_fen=split.pooled_fund_fen,
            additional_fund_fen=split.additional_fund_fen,
            current_year_fen=split.current_year_fen,
            carried_over_fen=split.carried_over_fen,
            deposit_fen=split.deposit_fen,
            bank_fen=split.bank_fen,
            cash_fen=split.cash_fen,
            lines=request.lines,
            parts=split.parts,
            policy=judged.policy,
            moved=moves_of(judged.policy or ()),
            stay=None if in_stay is None else in_stay.part_of(),
            agreed=agreement.text,
            on_bank_decline=request.on_bank_decline,
            bank_notice=judged.notice,
            consent=request.consent if insurance_notice(card) else None,
            bank_code=self._context.directory.route(card.bank_code) if split.bank_fen and card.bank_code else None,
            issuer=card.bank_code,
            posting_date=today,
            lease_until=self._context.lease_until(now),
            worker=self._context.worker,
            key_expires_at=self._context.key_expires_at(now),
        )


def judge_known(known: KnownKey, digest: bytes) -> SagaKey:
    """Where the settlement of a known key lives; refuses a key that stands for something else."""
    if known.operation == "tombstone":
        raise ServiceError("REVERSED_BEFORE_ARRIVAL", field="idempotency_key")
    if known.operation != "settlement" or known.body_digest != digest or known.key is None:
        raise ServiceError("IDEMPOTENCY_KEY_REUSED", field="idempotency_key")
    return known.key


def _check_card(
    request: QuoteRequest | SettlementRequest, card: CardContext, now: dt.datetime, stay: Admission | None = None
) -> None:
    """Refuse a card that may not be used; a frozen insurance side is left out where the patient agreed to it."""
    if stay is not None and card.person_id != stay.person_id:
        raise ServiceError("STAY_CARD_OTHER", field="card")
    check_usable(card, request.card, now, without_insurance=request.consent == "without_insurance")
