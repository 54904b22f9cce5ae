"""Acting on a bank leg: the same code for the first try and for recovery. What is sent follows from the leg's durable
state and the decision alone; what comes back is made durable before anything is done with it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import structlog

from settlement.banks.directory import Bank, Directory
from settlement.banks.port import BankAnswer, BankOrder, BankOutcome, BankPort, MessageIdentity
from settlement.businessdate import business_date
from settlement.cards.vault import Vault
from settlement.clock import Clock
from settlement.db.outages import OUTAGES
from settlement.engine import metrics
from settlement.engine.declines import decline_code, not_sent_code
from settlement.engine.moves import BANK
from settlement.ledger.ledger import Ledger
from settlement.ledger.records import BankEvidence, BankLeg

VOID_TOO_LATE = "13"
MESSAGE_LIFETIME = dt.timedelta(minutes=30)
STATEMENT_AFTER = dt.timedelta(days=2)
"""Rule 4: at a bank that forgets refusals, *not found* counts only after the message lifetime and the statement."""
REFUSED_RETRY = dt.timedelta(minutes=10)
_BACKOFF_MAX_S = 30.0
_CAPTURE_AGAIN_S = 1.0

log = structlog.get_logger("settlement.engine")


@dataclass(frozen=True, slots=True)
class Pin:
    """A PIN block under the terminal's PIN key, and that key; lives in memory for the first try only."""

    block: bytes
    key: bytes

    def __repr__(self) -> str:
        """Nothing of the PIN shows."""
        return "Pin(***)"


class BankLegs:
    """Carries bank legs on: debits, inquiries, reversals (0400), voids and refunds.

    ``act`` needs a claim: the hold that wrote the leg, or ``claim_due_legs``. ``send_before`` is the clock's monotonic
    time after which the claim may be another's: nothing is written to a bank later (rule 9).
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        banks: BankPort,
        directory: Directory,
        vault: Vault,
        clock: Clock,
        cut_over: dt.time,
    ) -> None:
        self._ledger = ledger
        self._banks = banks
        self._directory = directory
        self._vault = vault
        self._clock = clock
        self._cut_over = cut_over

    async def debit(self, leg: BankLeg, pin: Pin | None, send_before: float) -> None:
        """The one and only 0200 of a leg that this process has just written. Nobody else ever sends it."""
        answer = await self._banks.debit(self._order(leg, pin), send_before)
        match answer.outcome:
            case BankOutcome.APPROVED:
                await self._capture(leg, answer)
            case BankOutcome.DECLINED:
                await self._record(leg, answer, "declined", "bank_declined", decline_code(answer.response_code))
            case BankOutcome.NOT_SENT:
                await self._record(leg, answer, "declined", f"not_sent:{answer.detail}", not_sent_code(answer.detail))
            case _:
                await self._in_doubt(leg, answer)

    async def hear(self, identity: MessageIdentity, answer: BankAnswer) -> None:
        """A debit's answer that came after its time-out: evidence like any other."""
        if answer.outcome not in {BankOutcome.APPROVED, BankOutcome.DECLINED}:
            return
        leg = await self._ledger.find_debit(
            bank=identity.bank,
            terminal_id=identity.terminal_id,
            transmitted=identity.transmitted,
            trace=identity.trace,
            reference=identity.reference,
        )
        if leg is None:
            log.error("answer_to_nothing", bank=identity.bank, reference=identity.reference)
        elif answer.outcome is BankOutcome.APPROVED:
            await self._capture(leg, answer)
        else:
            await self._record(leg, answer, "declined", "bank_declined", decline_code(answer.response_code))

    async def act(self, leg: BankLeg, send_before: float) -> None:
        """Recovery's next step for a claimed leg, whatever state a crash, a time-out or an answer left it in."""
        if leg.leg != BANK:
            await self._give_back(leg, send_before)
        elif leg.state == "approved":
            await self._capture(leg, _stored_approval(leg))
        elif leg.state == "undoing":
            await self._reverse(leg, send_before)
        else:
            await self._find_out(leg, send_before)

    async def _find_out(self, leg: BankLeg, send_before: float) -> None:
        if self._bank(leg).offers_inquiry:
            answer = await self._banks.inquire(self._order(leg), send_before)
        else:
            answer = BankAnswer(outcome=BankOutcome.UNKNOWN, detail="no_inquiry")
        if answer.outcome is BankOutcome.APPROVED:
            await self._capture(leg, answer)
        elif answer.outcome is BankOutcome.DECLINED:
            await self._record(leg, answer, "declined", "inquiry", decline_code(answer.response_code))
        elif self._clock.now() >= leg.deadline_at:
            await self._turn_back(leg)
        else:
            # *Not found* is not final here: the debit may still be on its way, and no refusal of it is remembered.
            await self._in_doubt(leg, answer)

    async def _turn_back(self, leg: BankLeg) -> None:
        if await self._ledger.decide_backward(leg.key, "deadline", self._clock.now()):
            metrics.TURNED_BACK.labels(leg.bank_code).inc()
            log.warning("settlement_turned_back", settlement_id=str(leg.key.saga_id), cause="deadline")

    async def _reverse(self, leg: BankLeg, send_before: float) -> None:
        answer = await self._banks.reverse(self._order(leg), send_before)
        if answer.outcome is BankOutcome.APPROVED:
            await self._undone(leg, answer, "reversal_acknowledged")
        elif answer.outcome is BankOutcome.NOT_FOUND and self._refusal_counts(leg):
            await self._undone(leg, answer, "nothing_to_reverse")
        else:
            await self._ledger.record_undoing_answer(
                self._evidence(leg, answer, "again", "0400", self._later(leg)), self._clock.now()
            )

    async def _undone(self, leg: BankLeg, answer: BankAnswer, cause: str) -> None:
        await self._ledger.record_undoing_answer(self._evidence(leg, answer, "undone", cause, None), self._clock.now())

    def _refusal_counts(self, leg: BankLeg) -> bool:
        if self._bank(leg).remembers_reversal:
            return True
        age = self._clock.now() - leg.accepted_at
        return age > MESSAGE_LIFETIME and age > STATEMENT_AFTER

    async def _give_back(self, leg: BankLeg, send_before: float) -> None:
        send = self._banks.refund if leg.verb == "refund" else self._banks.void
        answer = await send(self._order(leg), send_before)
        now = self._clock.now()
        if answer.outcome is BankOutcome.APPROVED:
            evidence = self._evidence(leg, answer, "approved", "bank_returned", None)
        elif answer.outcome is BankOutcome.DECLINED and leg.verb == "void" and answer.response_code == VOID_TOO_LATE:
            evidence = self._evidence(leg, answer, "too_late", "void_too_late", now)
        elif answer.outcome in {BankOutcome.DECLINED, BankOutcome.NOT_FOUND}:
            metrics.REFUSED_RETURNS.labels(leg.bank_code).inc()
            log.error(
                "bank_refused_return", reversal_id=str(leg.key.saga_id), bank=leg.bank_code, code=answer.response_code
            )
            evidence = self._evidence(leg, answer, "refused", "bank_refused", now + REFUSED_RETRY)
        else:
            evidence = self._evidence(leg, answer, "unknown", answer.detail or "no_answer", self._later(leg))
        await self._ledger.record_return_answer(evidence, now)

    async def _capture(self, leg: BankLeg, answer: BankAnswer) -> None:
        """Repeated until it commits (it cannot fail for business reasons), or until the till's deadline has passed.

        Then the bank's answer stays with the bank: recovery asks for it, or turns back what it cannot ask for.
        """
        evidence = self._evidence(leg, answer, "approved", "bank_approved", self._later(leg))
        while True:
            try:
                action = await self._ledger.record_debit_answer(evidence, self._clock.now())
                break
            except OUTAGES:
                if self._clock.now() >= leg.deadline_at:
                    log.warning("capture_left_to_recovery", settlement_id=str(leg.key.saga_id), bank=leg.bank_code)
                    return
                await self._clock.sleep(_CAPTURE_AGAIN_S)
            except Exception:
                # The approval must not be lost with what keeps the capture from committing; recovery repeats it.
                log.exception("capture_failed", settlement_id=str(leg.key.saga_id))
                await self._ledger.note_approval(evidence, self._clock.now())
                return
        if action == "late":
            metrics.LATE_APPROVALS.labels(leg.bank_code).inc()
            log.warning("late_approval", settlement_id=str(leg.key.saga_id), bank=leg.bank_code)

    async def _record(self, leg: BankLeg, answer: BankAnswer, outcome: str, cause: str, code: str) -> None:
        evidence = self._evidence(leg, answer, outcome, cause, None, code)
        await self._ledger.record_debit_answer(evidence, self._clock.now())

    async def _in_doubt(self, leg: BankLeg, answer: BankAnswer) -> None:
        due = self._later(leg)
        if leg.deadline_at > self._clock.now():
            due = min(due, leg.deadline_at)
        evidence = self._evidence(leg, answer, "unknown", answer.detail or "no_answer", due)
        await self._ledger.record_debit_answer(evidence, self._clock.now())

    def _bank(self, leg: BankLeg) -> Bank:
        return self._directory[leg.bank_code]

    def _later(self, leg: BankLeg) -> dt.datetime:
        wait_s = min(0.5 * 2 ** min(leg.attempts - 1, 10), _BACKOFF_MAX_S)
        return self._clock.now() + dt.timedelta(seconds=wait_s)

    def _evidence(
        self,
        leg: BankLeg,
        answer: BankAnswer,
        outcome: str,
        cause: str,
        next_attempt_at: dt.datetime | None,
        code: str | None = None,
    ) -> BankEvidence:
        return BankEvidence(
            person_id=leg.key.person_id,
            acceptance_date=leg.key.acceptance_date,
            saga_id=leg.key.saga_id,
            outcome=outcome,
            cause=cause,
            fence=leg.fence,
            posting_date=business_date(self._clock.now(), self._cut_over),
            response_code=answer.response_code,
            authorisation=answer.authorisation,
            settlement_date=answer.settlement_date,
            decline_code=code,
            next_attempt_at=next_attempt_at,
        )

    def _order(self, leg: BankLeg, pin: Pin | None = None) -> BankOrder:
        own = MessageIdentity(
            bank=leg.bank_code,
            terminal_id=leg.terminal_id,
            transmitted=leg.transmitted,
            trace=leg.trace,
            reference=leg.reference,
        )
        original = MessageIdentity(
            bank=leg.bank_code,
            terminal_id=leg.terminal_id,
            transmitted=leg.original_transmitted,
            trace=leg.original_trace,
            reference=leg.original_reference,
        )
        return BankOrder(
            identity=own,
            amount_fen=leg.amount_fen,
            pan=self._vault.pan.open(leg.pan_sealed, leg.person_id, leg.card_id),
            institution_id=leg.institution_id,
            original=original,
            pin_block=pin.block if pin else None,
            pin_key=pin.key if pin else None,
        )


def _stored_approval(leg: BankLeg) -> BankAnswer:
    return BankAnswer(
        outcome=BankOutcome.APPROVED,
        response_code=leg.response_code,
        authorisation=leg.authorisation,
        settlement_date=leg.bank_settlement_date,
    )
