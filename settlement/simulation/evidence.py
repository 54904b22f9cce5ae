"""What is on record when a run is over, read plainly: the banks' books, balances and postings; no view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from settlement.ledger.verify import Violation, read_bank_legs, verify_ledger
from settlement.ledger.verify_banks import BookEntry, compare_with_banks
from settlement.simulation.database import RealDatabase
from settlement.simulation.parties import BankHost
from settlement.stubs.bankhost import queries

_EVERYTHING = 1_000_000


@dataclass(frozen=True, slots=True)
class BankDebit:
    """One debit that a bank approved, and what of it (fen) the bank has given back since."""

    bank: str
    pan: str
    reference: str
    amount_fen: int
    given_back_fen: int

    @property
    def live_fen(self) -> int:
        """What the account is still charged with."""
        return self.amount_fen - self.given_back_fen


@dataclass(frozen=True, slots=True)
class Evidence:
    """``balances``: posted and held fen by person and account · ``counters``: fen by person and counter, all years
    together · ``postings``: net fen by ledger account (credits less
    debits; a person's accounts carry the person's number) · ``bank_balances``: fen by bank and account number."""

    debits: list[BankDebit]
    bank_balances: dict[tuple[str, str], int]
    balances: dict[tuple[int, str], tuple[int, int]]
    counters: dict[tuple[int, str], int]
    postings: dict[str, int]


def collect(database: RealDatabase, banks: list[BankHost]) -> Evidence:
    """Read what is on record."""
    debits: list[BankDebit] = []
    bank_balances: dict[tuple[str, str], int] = {}
    for bank in banks:
        connection = bank.store.connection
        returned = dict(
            connection.execute(
                "SELECT original_id, sum(moved_fen) FROM operation WHERE original_id IS NOT NULL GROUP BY original_id"
            )
        )
        debits += [
            BankDebit(bank.code, pan, reference, amount, returned.get(number, 0))
            for number, pan, reference, amount in connection.execute(
                "SELECT id, pan, reference, moved_fen FROM operation WHERE kind = 'debit' AND moved_fen > 0 ORDER BY id"
            )
        ]
        for pan, balance in connection.execute("SELECT pan, balance_fen FROM account"):
            bank_balances[bank.code, pan] = balance
    balances = {}
    for row in database.run("fetch", "select * from insurance_accounts order by person_id", ()):
        for account in ("current_year", "carried_over"):
            balances[row["person_id"], account] = (row[f"{account}_posted_fen"], row[f"{account}_held_fen"])
    return Evidence(debits, bank_balances, balances, _counters(database), _postings(database))


def _counters(database: RealDatabase) -> dict[tuple[int, str], int]:
    sums = "select person_id, counter, sum(fen)::bigint as fen from accumulator group by 1, 2 order by 1, 2"
    return {(row["person_id"], row["counter"]): row["fen"] for row in database.run("fetch", sums, ())}


def _postings(database: RealDatabase) -> dict[str, int]:
    net: dict[str, int] = {}
    for row in database.run("fetch", "select person_id, debit_account, credit_account, amount_fen from transfer", ()):
        for name, fen in ((row["debit_account"], -row["amount_fen"]), (row["credit_account"], row["amount_fen"])):
            account = name.replace("person/", f"person {row['person_id']}/")
            net[account] = net.get(account, 0) + fen
    return net


def verify(database: RealDatabase, banks: list[BankHost]) -> tuple[list[Violation], int]:
    """What ``settlement verify`` finds, and how many legs are open."""
    pool: Any = database.pool
    report = database.wait(verify_ledger(pool))
    entries = []
    for bank in banks:
        for item in queries.books(bank.store, bank.code, 0, _EVERYTHING).items:
            known_as = item.identity
            identity = (known_as.bank, known_as.terminal_id, known_as.transmitted, known_as.trace, known_as.reference)
            entries.append(BookEntry(identity, item.amount_fen, item.state, item.kind, item.moved_fen))
    after = database.wait(read_bank_legs(pool))
    compared = compare_with_banks(report.bank_legs, entries, after, frozenset(bank.code for bank in banks))
    return [*report.violations, *compared.violations], report.counts["open_legs"]


def moves(database: RealDatabase) -> dict[str, int]:
    """How often legs made which move, by ``leg: from > to``."""
    rows = database.run(
        "fetch",
        """select leg || ': ' || from_state || ' > ' || to_state as move, count(*) as times
           from leg_move group by 1 order by 1""",
        (),
    )
    return {row["move"]: row["times"] for row in rows}
