"""`settlement verify`: the proof of the books, our own and against those of the banks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg
import click

from settlement.cli.failures import told
from settlement.ledger.verify import INVARIANTS, LedgerReport, read_bank_legs, verify_ledger
from settlement.ledger.verify_banks import BankReport, BookEntry, compare_with_banks
from settlement.stubs.bankhost.client import BankHostAdmin

VIOLATIONS_EXIT = 2


@dataclass(frozen=True, slots=True)
class Proof:
    """The ledger's report and, where bank hosts were given, the comparison with their books."""

    ledger: LedgerReport
    banks: BankReport | None

    @property
    def violations(self) -> int:
        """How many findings there are in all."""
        return len(self.ledger.violations) + (len(self.banks.violations) if self.banks else 0)

    def as_json(self) -> str:
        """For machines."""
        found = [*self.ledger.violations, *(self.banks.violations if self.banks else [])]
        return json.dumps(
            {
                "violations": [{"invariant": each.invariant, "finding": each.finding} for each in found],
                "counts": dict(self.ledger.counts),
                "banks": None
                if self.banks is None
                else {
                    "compared": self.banks.compared,
                    "not_final": self.banks.not_final,
                    "net_fen": dict(sorted(self.banks.net_fen.items())),
                },
            },
            ensure_ascii=False,
        )

    def lines(self) -> Iterable[str]:
        """For people; the last line says how many violations there are."""
        counts = self.ledger.counts
        yield (
            f"ledger: {counts['settlements']} settlements ({counts['settled']} settled), "
            f"{counts['reversals']} reversals, {counts['refunds']} refunds, {counts['transfers']} transfers, "
            f"{len(INVARIANTS)} invariants checked"
        )
        if counts["open_legs"]:
            yield f"not final yet: {counts['open_legs']} bank legs (recovery goes on with them)"
        if self.banks is not None:
            net = sum(self.banks.net_fen.values())
            with_banks = f"with the books of {self.banks.banks} banks"
            yield f"banks: {self.banks.compared} debits compared {with_banks}, net {net} fen"
            if self.banks.not_final:
                yield f"banks: {self.banks.not_final} debits not final yet, not compared"
        for each in [*self.ledger.violations, *(self.banks.violations if self.banks else [])]:
            yield f"VIOLATION {each.invariant}: {each.finding}"
        yield f"{self.violations} violations"


async def prove(pool: asyncpg.Pool, bank_hosts: Iterable[str]) -> Proof:
    """Verify the ledger, also against the books of bank hosts (admin addresses); the service may be at work."""
    ledger = await verify_ledger(pool)
    entries: list[BookEntry] = []
    banks: set[str] = set()
    for url in bank_hosts:
        async with BankHostAdmin(url) as admin:
            for summary in await admin.summaries():
                banks.add(summary.bank)
                async for item in admin.books(summary.bank):
                    known_as = item.identity
                    identity = (
                        known_as.bank,
                        known_as.terminal_id,
                        known_as.transmitted,
                        known_as.trace,
                        known_as.reference,
                    )
                    entries.append(BookEntry(identity, item.amount_fen, item.state, item.kind, item.moved_fen))
    if not banks:
        return Proof(ledger, None)
    return Proof(ledger, compare_with_banks(ledger.bank_legs, entries, await read_bank_legs(pool), frozenset(banks)))


@click.command()
@click.option(
    "--bank-host", "bank_hosts", multiple=True, metavar="URL", help="Admin address of a bank host; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line.")
def verify(bank_hosts: tuple[str, ...], as_json: bool) -> None:
    """Check every invariant of the ledger and, given bank hosts, that their books equal ours to the fen.

    Reads only. Exit status 0: no violations; 2: violations, each named; 1: could not check.
    """
    import aiohttp

    from settlement.config import Settings, load_settings
    from settlement.db.pool import create_pool
    from settlement.db.server import database_server
    from settlement.stubs.bankhost.client import AdminError

    async def check(settings: Settings) -> Proof:
        pool = await create_pool(settings)
        try:
            return await prove(pool, bank_hosts)
        finally:
            await pool.close()

    with told(), database_server(load_settings(os.environ)) as settings:
        try:
            proof = asyncio.run(check(settings))
        except (aiohttp.ClientError, AdminError, TimeoutError) as error:
            raise click.ClickException(f"a bank host does not answer: {error}") from error
        except asyncpg.UndefinedTableError:
            raise click.ClickException("the database has no books yet; `settlement init` makes them") from None
    click.echo(proof.as_json() if as_json else "\n".join(proof.lines()))
    if proof.violations:
        raise SystemExit(VIOLATIONS_EXIT)
