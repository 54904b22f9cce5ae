"""Calls of the ledger itself, straight to PostgreSQL: no HTTP, no card, no bank."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence

from bench.bills import CURRENT_YEAR_FEN, LINES
from bench.cells import BenchError
from bench.load.jobs import SETTLED, LedgerJob, Payment
from bench.load.loops import Operation
from settlement.businessdate import business_date
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.ledger import Ledger
from settlement.ledger.records import BankEvidence, HoldRequest
from settlement.policy.split import Balances, split_bill

INSTITUTION = "H31010100099"
_TERMINAL = "BENCH001"
_BANK = "ICBC"
REHEARSALS = 10
_VERSION = 1  # of accounts that one credit has been booked on
_KEY_DAYS = 400


@contextlib.asynccontextmanager
async def prepared(job: LedgerJob, clients: int) -> AsyncIterator[Sequence[Sequence[Operation]]]:
    """A pool and batches as the service has them, and every request made out.

    The first ``REHEARSALS`` bills of each client are settled now: the service's connections have their plans, too.
    """
    settings = Settings(database_url=job.dsn)
    pool = await create_pool(settings)
    try:
        ledger = Ledger(pool, batch_max=settings.batch_max)
        operations: list[list[Operation]] = [[] for _ in range(clients)]
        for number, person_id in enumerate(job.persons):
            request = hold_request(person_id, job.payment, f"{job.mark}-{number}", settings)
            operations[number % clients].append(_settling(ledger, request))
        await asyncio.gather(*(_rehearse(each[:REHEARSALS]) for each in operations))
        yield [each[REHEARSALS:] for each in operations]
    finally:
        await pool.close()


def hold_request(person_id: int, payment: Payment, visit_no: str, settings: Settings) -> HoldRequest:
    """What the engine would ask the ledger for this person and the bench's bill; the person's card has the same id."""
    now = SystemClock().now()
    today = business_date(now, settings.cut_over)
    split = split_bill(LINES, Balances(CURRENT_YEAR_FEN[payment], 0, _VERSION), "bank")
    return HoldRequest(
        person_id=person_id,
        acceptance_date=today,
        settlement_id=uuid.uuid4(),
        institution_id=INSTITUTION,
        terminal_id=_TERMINAL,
        card_id=person_id,
        card_counter=1,
        idempotency_key=f"{_TERMINAL}-{visit_no}",
        body_digest="\\x" + hashlib.sha256(visit_no.encode()).hexdigest(),
        visit_no=visit_no,
        visit_type="outpatient",
        service_date=today,
        accepted_at=now,
        deadline_at=now + dt.timedelta(seconds=150),
        account_version=_VERSION,
        bill_fen=split.total_fen,
        pooled_fund_fen=0,
        additional_fund_fen=0,
        deposit_fen=0,
        policy=None,
        moved=[],
        stay=None,
        own_expense_fen=split.own_expense_fen,
        current_year_fen=split.current_year_fen,
        carried_over_fen=split.carried_over_fen,
        bank_fen=split.bank_fen,
        cash_fen=split.cash_fen,
        lines=list(LINES),
        parts=split.parts,
        agreed=f"ceiling:{split.bank_fen}",
        on_bank_decline="release",
        bank_notice=None,
        consent=None,
        bank_code=_BANK if split.bank_fen else None,
        issuer=_BANK,
        posting_date=today,
        lease_until=now + dt.timedelta(milliseconds=settings.claim_lease_ms),
        worker="bench",
        key_expires_at=now + dt.timedelta(days=_KEY_DAYS),
    )


async def _rehearse(operations: Sequence[Operation]) -> None:
    for operation in operations:
        if (outcome := await operation()) != SETTLED:
            raise BenchError(f"the ledger did not settle a rehearsal: {outcome}")


def _settling(ledger: Ledger, request: HoldRequest) -> Operation:
    async def settle() -> str:
        """Hold, and for a bill with a bank part capture on the bank's approval: one commit, or two."""
        verdict = await ledger.hold(request)
        if verdict.outcome != "held" or request.bank_fen == 0:
            return SETTLED if verdict.outcome == "held" else verdict.outcome
        approved = BankEvidence(
            person_id=request.person_id,
            acceptance_date=request.acceptance_date,
            saga_id=request.settlement_id,
            outcome="approved",
            cause="bench",
            fence=1,
            posting_date=request.posting_date,
            response_code="00",
            authorisation="A1B2C3",
            settlement_date=request.posting_date,
        )
        action = await ledger.record_debit_answer(approved, SystemClock().now())
        return SETTLED if action == "capture" else action

    return settle
