"""What is judged: the ledger's bills, the banks' live debits, and which outcomes were in doubt for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.judge import Account, Debit, LedgerBill
from loadtest.population import Patient
from loadtest.stand import Stand
from settlement.db.queries import load_queries

SQL = load_queries("chaos", "sql/evidence.sql")
_SIDE_BY_SIDE = 16
_TAKEN = frozenset({"live", "partly_refunded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A message to a bank whose outcome was open for ``in_doubt_ms``, from the first durable step to the last."""

    saga_id: str
    leg: str
    bank: str
    state: str
    resolved: bool
    in_doubt_ms: int


async def ledger_bills(stand: Stand, run: str) -> list[LedgerBill]:
    """Every settlement of the run."""
    return [LedgerBill(**row) for row in await stand.base.pool.fetch(SQL["bills_of_run"], run)]


async def doubts(stand: Stand) -> Sequence[Doubt]:
    """All outcomes that were in doubt, the longest first."""
    return [Doubt(**row) for row in await stand.base.pool.fetch(SQL["doubts"])]


async def live_debits(stand: Stand) -> list[Debit]:
    """Every debit that stands, from the books of all banks."""
    return [
        Debit(bank=item.identity.bank, reference=item.identity.reference, amount_fen=item.amount_fen)
        for bank, admin in stand.banks.items()
        async for item in admin.books(bank)
        if item.kind == "debit" and item.state in _TAKEN
    ]


async def accounts(stand: Stand, patients: Iterable[Patient]) -> list[Account]:
    """What the banks say is left on the patients' accounts."""
    turn = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(patient: Patient) -> Account:
        bank, pan = patient.spec.bank_code, patient.card.pan or ""
        async with turn:
            left = await stand.banks[bank].account(bank, pan)
        return Account(bank=bank, pan=pan, taken_fen=patient.spec.bank_fen - left.balance_fen)

    return await asyncio.gather(*map(one, patients))
