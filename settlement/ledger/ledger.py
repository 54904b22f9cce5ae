"""The ledger's calls: each state change is one SQL function; calls that arrive together commit together."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

import asyncpg
import msgspec

from settlement.db.batcher import Batcher
from settlement.db.queries import load_queries
from settlement.ledger.cases import OpenCase, count_open_cases, raise_case_alarms
from settlement.ledger.records import (
    BankEvidence,
    BankLeg,
    CounterMove,
    HoldRequest,
    HoldVerdict,
    KnownKey,
    LineShare,
    PolicyRecord,
    RefundFacts,
    Row,
    SagaKey,
    UndoOrder,
    UndoVerdict,
)

SQL = load_queries("settlement.ledger", "sql/ledger.sql")


class Ledger:
    """All reads and writes of settlements. Fen in ``int``; moments are aware UTC; nothing here reads a clock.

    ``batch_max``: items that one call of a SQL function carries at most. Raises ``ServiceError`` OVERLOADED when
    too much waits, and asyncpg's errors when the database stays away.
    """

    def __init__(self, pool: asyncpg.Pool, *, batch_max: int = 64, queue_max: int = 2_000, lanes: int = 2) -> None:
        self._pool = pool
        limits = {"batch_max": batch_max, "queue_max": queue_max, "lanes": lanes}
        self._holds: Batcher[HoldRequest, HoldVerdict] = Batcher(self._hold_batch, **limits)
        self._debits: Batcher[tuple[BankEvidence, dt.datetime], str] = Batcher(self._debit_batch, **limits)
        self._undos: Batcher[UndoOrder, UndoVerdict] = Batcher(self._undo_batch, **limits)
        self._keys: Batcher[tuple[str, str], KnownKey | None] = Batcher(self._key_batch, **limits)
        self._statuses: Batcher[SagaKey, Row | None] = Batcher(self._status_batch, **limits)

    @property
    def depth(self) -> int:
        """How many calls wait for a batch, over all functions."""
        batchers = (self._holds, self._debits, self._undos, self._keys, self._statuses)
        return sum(batcher.depth for batcher in batchers)

    async def hold(self, request: HoldRequest) -> HoldVerdict:
        """Rule 4: key, holds and the intent to debit, in one commit. Nothing changed unless the outcome is ``held``."""
        return await self._holds.submit(request)

    async def record_debit_answer(self, evidence: BankEvidence, now: dt.datetime) -> str:
        """Make a bank's answer durable and draw its consequence; returns the action taken, or ``none``."""
        return await self._debits.submit((evidence, now))

    async def record_undoing_answer(self, evidence: BankEvidence, now: dt.datetime) -> None:
        """Make the answer to a 0400 durable: ``undone`` closes the leg, anything else schedules the next attempt."""
        await self._pool.fetch(SQL["record_undoing_answers"], _numbered([evidence]), now)

    async def record_return_answer(self, evidence: BankEvidence, now: dt.datetime) -> None:
        """Make the answer to a void or refund durable: ``approved``, ``too_late``, ``refused`` or ``unknown``."""
        await self._pool.fetch(SQL["record_return_answers"], _numbered([evidence]), now)

    async def note_approval(self, evidence: BankEvidence, now: dt.datetime) -> None:
        """Keep a bare approval where the capture cannot commit; recovery repeats the capture."""
        await self._pool.execute(SQL["note_approvals"], _numbered([evidence]), now)

    async def decide_backward(self, key: SagaKey, cause: str, now: dt.datetime) -> bool:
        """Turn an open settlement back for good; False if it was decided already or its approval is durable."""
        item = [{"person_id": key.person_id, "acceptance_date": key.acceptance_date, "saga_id": key.saga_id}]
        rows = await self._pool.fetch(SQL["decide_backward"], msgspec.json.encode(item).decode(), cause, now)
        return bool(rows)

    async def request_undo(self, order: UndoOrder) -> UndoVerdict:
        """Open a reversal or refund, or find what stands for it. Nothing changed unless ``opened`` or ``turned``."""
        return await self._undos.submit(order)

    async def bury_key(
        self,
        *,
        institution_id: str,
        original_key: str,
        own_key: str,
        body_digest: bytes,
        undo_id: uuid.UUID,
        now: dt.datetime,
        expires_at: dt.datetime,
    ) -> tuple[str, uuid.UUID]:
        """Remember a reversal without its original; returns (``buried`` | ``arrived`` | ``key_reused``, id)."""
        row = await self._pool.fetchrow(
            SQL["bury_key"], institution_id, original_key, own_key, body_digest, undo_id, now, expires_at
        )
        assert row is not None  # noqa: S101 - the function returns exactly one row
        return row["outcome"], row["saga_id"]

    async def find_key(self, institution_id: str, idempotency_key: str) -> KnownKey | None:
        """What an idempotency key was used for in its institution, or None."""
        return await self._keys.submit((institution_id, idempotency_key))

    async def find_saga(self, institution_id: str, saga_id: uuid.UUID) -> tuple[str, SagaKey] | None:
        """The kind (``settlement`` | ``reversal`` | ``refund``) and place of a saga of this institution, or None."""
        row = await self._pool.fetchrow(SQL["find_saga"], institution_id, saga_id)
        return None if row is None else (row["kind"], SagaKey(row["person_id"], row["acceptance_date"], saga_id))

    async def settlement_status(self, key: SagaKey) -> Row | None:
        """A settlement's facts and derived state (view ``settlement_status``), or None."""
        return await self._statuses.submit(key)

    async def undo_status(self, key: SagaKey) -> Row | None:
        """The facts of a reversal or refund, with what it gives back line by line, or None."""
        return await self._pool.fetchrow(SQL["undo_status"], key.person_id, key.acceptance_date, key.saga_id)

    async def refund_facts(self, key: SagaKey) -> RefundFacts | None:
        """What a refund of this settlement is worked out from; None where no plan judged it."""
        row = await self._pool.fetchrow(SQL["refund_facts"], key.person_id, key.acceptance_date, key.saga_id)
        if row is None:
            return None
        return RefundFacts(
            returned_fen=row["returned_fen"],
            bank_fen=row["bank_fen"],
            deposit_fen=row["deposit_fen"],
            policy=msgspec.convert(row["policy"], list[PolicyRecord]),
            shares=msgspec.convert(row["shares"], list[LineShare]),
            moved=msgspec.convert(row["moved"], list[CounterMove]),
        )

    async def receipt_facts(self, key: SagaKey) -> Row | None:
        """What a receipt shows, but the patient's name; None where no receipt exists (yet)."""
        return await self._pool.fetchrow(SQL["receipt_facts"], key.person_id, key.acceptance_date, key.saga_id)

    async def claim_due_legs(
        self, now: dt.datetime, worker: str, lease_until: dt.datetime, limit: int, full: Sequence[str] = ()
    ) -> list[BankLeg]:
        """Claim legs that are due and that nobody holds; the fencing number rises (rule 9). None of the banks in
        ``full``."""
        rows = await self._pool.fetch(SQL["claim_due_legs"], now, worker, lease_until, limit, list(full))
        return [_bank_leg(row) for row in rows]

    async def bank_leg(self, key: SagaKey, leg: str) -> BankLeg | None:
        """One bank leg with all that is needed to act on it, or None."""
        row = await self._pool.fetchrow(SQL["bank_leg"], key.person_id, key.acceptance_date, key.saga_id, leg)
        return None if row is None else _bank_leg(row)

    async def find_debit(
        self, *, bank: str, terminal_id: str, transmitted: str, trace: str, reference: str
    ) -> BankLeg | None:
        """The bank leg whose debit has this whole identity (fields 41, 7, 11, 37), or None."""
        row = await self._pool.fetchrow(SQL["find_debit"], reference, bank, terminal_id, transmitted, trace)
        return None if row is None else await self.bank_leg(SagaKey(*row.values()), "bank")

    async def takes_writes(self) -> bool:
        """Whether the database takes writes now; a standby does not, nor one that was set read-only."""
        writable: bool = await self._pool.fetchval(SQL["takes_writes"])
        return writable

    async def count_open_cases(self, now: dt.datetime, old_before: dt.datetime) -> list[Row]:
        """See ``settlement.ledger.cases``."""
        return await count_open_cases(self._pool, now, old_before)

    async def raise_case_alarms(self, now: dt.datetime, old_before: dt.datetime) -> list[OpenCase]:
        """See ``settlement.ledger.cases``."""
        return await raise_case_alarms(self._pool, now, old_before)

    async def _hold_batch(self, items: Sequence[HoldRequest]) -> list[HoldVerdict]:
        rows = await self._pool.fetch(SQL["hold_settlements"], _numbered(items))
        return [
            HoldVerdict(row["outcome"], SagaKey(row["person_id"], row["acceptance_date"], row["settlement_id"]))
            for row in rows
        ]

    async def _debit_batch(self, items: Sequence[tuple[BankEvidence, dt.datetime]]) -> list[str]:
        latest = max(now for _, now in items)
        rows = await self._pool.fetch(SQL["record_debit_answers"], _numbered([each for each, _ in items]), latest)
        return [row["action"] for row in rows]

    async def _undo_batch(self, items: Sequence[UndoOrder]) -> list[UndoVerdict]:
        rows = await self._pool.fetch(SQL["request_undos"], _numbered(items))
        return [UndoVerdict(row["outcome"], row["saga_id"], row["line_no"], row["left_fen"]) for row in rows]

    async def _key_batch(self, items: Sequence[tuple[str, str]]) -> list[KnownKey | None]:
        found: list[KnownKey | None] = [None] * len(items)
        for row in await self._pool.fetch(SQL["find_keys"], [each[0] for each in items], [each[1] for each in items]):
            place = (
                None if row["person_id"] is None else SagaKey(row["person_id"], row["acceptance_date"], row["saga_id"])
            )
            found[row["ord"] - 1] = KnownKey(row["operation"], row["body_digest"], row["saga_id"], place)
        return found

    async def _status_batch(self, items: Sequence[SagaKey]) -> list[Row | None]:
        found: dict[SagaKey, Row] = {}
        for date in dict.fromkeys(key.acceptance_date for key in items):  # one, but for the minutes around midnight
            keys = [key for key in items if key.acceptance_date == date]
            rows = await self._pool.fetch(
                SQL["settlement_statuses"], [key.person_id for key in keys], date, [key.saga_id for key in keys]
            )
            found |= {keys[row["ord"] - 1]: row for row in rows}
        return [found.get(key) for key in items]


def _numbered(items: Sequence[msgspec.Struct]) -> str:
    """The items as a JSON array, each with its place in the batch as ``ord``."""
    return msgspec.json.encode(
        [{"ord": place, **msgspec.structs.asdict(item)} for place, item in enumerate(items)]
    ).decode()


def _bank_leg(row: Row) -> BankLeg:
    return BankLeg(
        key=SagaKey(row["person_id"], row["acceptance_date"], row["saga_id"]),
        leg=row["leg"],
        state=row["state"],
        verb=row["verb"],
        amount_fen=row["amount_fen"],
        bank_code=row["bank_code"],
        terminal_id=row["terminal_id"],
        transmitted=row["transmitted"],
        trace=row["trace"],
        reference=row["reference"],
        original_transmitted=row["original_transmitted"],
        original_trace=row["original_trace"],
        original_reference=row["original_reference"],
        attempts=row["attempts"],
        fence=row["fence"],
        institution_id=row["institution_id"],
        decision=row["decision"],
        accepted_at=row["accepted_at"],
        deadline_at=row["deadline_at"],
        decided_at=row["decided_at"],
        response_code=row["response_code"],
        authorisation=row["authorisation"],
        bank_settlement_date=row["bank_settlement_date"],
        pan_sealed=row["pan_sealed"],
        person_id=row["person_id"],
        card_id=row["card_id"],
    )
