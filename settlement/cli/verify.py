"""`settlement verify`: the proof of the books, our own and against those of the banks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import click

from settlement.cli.failures import told
from settlement.ledger.seals.checking import ExpectedSeal, SealReport, verify_seals
from settlement.ledger.verify import INVARIANTS, LedgerReport, Violation, read_bank_legs, verify_ledger
from settlement.ledger.verify_banks import BankReport, BookEntry, compare_with_banks
from settlement.security.seal_key import load_seal_certificates, own_seal_certificates
from settlement.stubs.bankhost.client import BankHostAdmin

if TYPE_CHECKING:
    from terminal_sdk.crypto import Sm2PublicKey

VIOLATIONS_EXIT = 2


@dataclass(frozen=True, slots=True)
class Proof:
    """The ledger's report, that of its seals and, where bank hosts were given, the comparison with their books."""

    ledger: LedgerReport
    seals: SealReport
    banks: BankReport | None

    @property
    def findings(self) -> list[Violation]:
        """Everything that is not as it must be."""
        return [*self.ledger.violations, *self.seals.violations, *(self.banks.violations if self.banks else [])]

    @property
    def violations(self) -> int:
        """How many findings there are in all."""
        return len(self.findings)

    def as_json(self) -> str:
        """For machines."""
        return json.dumps(
            {
                "violations": [{"invariant": each.invariant, "finding": each.finding} for each in self.findings],
                "counts": dict(self.ledger.counts),
                "seals": _seals_as_json(self.seals),
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
        yield from _seal_lines(self.seals)
        if self.banks is not None:
            net = sum(self.banks.net_fen.values())
            with_banks = f"with the books of {self.banks.banks} banks"
            yield f"banks: {self.banks.compared} debits compared {with_banks}, net {net} fen"
            if self.banks.not_final:
                yield f"banks: {self.banks.not_final} debits not final yet, not compared"
        for each in self.findings:
            yield f"VIOLATION {each.invariant}: {each.finding}"
        yield f"{self.violations} violations"


def _seals_as_json(report: SealReport) -> dict[str, Any]:
    last = report.last
    return {
        "seals": report.seals,
        "sealed_rows": report.sealed_rows,
        "unsealed_rows": report.unsealed_rows,
        "last": last.label if last else None,
        "last_signed_at": last.statement.signed_at.isoformat() if last else None,
    }


def _seal_lines(report: SealReport) -> Iterable[str]:
    """How far the seals reach, the last of them to be kept outside, and what is committed since."""
    if report.last is None:
        yield f"seals: none {'that holds' if report.seals else 'yet'}; {report.unsealed_rows} rows not sealed"
        return
    signed_at = f"{report.last.statement.signed_at:%Y-%m-%d %H:%M:%SZ}"
    yield f"seals: {report.seals} over {report.sealed_rows} rows; last {report.last.label}"
    yield f"not sealed yet: {report.unsealed_rows} rows, since {signed_at}"


async def prove(
    pool: asyncpg.Pool,
    bank_hosts: Iterable[str],
    trusted: Mapping[str, Sm2PublicKey],
    expected: Sequence[ExpectedSeal] = (),
) -> Proof:
    """Verify the ledger and its seals, also against the books of bank hosts; the service may be at work.

    ``bank_hosts``: admin addresses. ``trusted`` and ``expected``: see ``verify_seals``.
    """
    ledger = await verify_ledger(pool)
    seals = await verify_seals(pool, trusted, expected)
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
        return Proof(ledger, seals, None)
    compared = compare_with_banks(ledger.bank_legs, entries, await read_bank_legs(pool), frozenset(banks))
    return Proof(ledger, seals, compared)


def _expected(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> list[ExpectedSeal]:
    try:
        return [ExpectedSeal.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter("expected NUMBER:DIGEST as `settlement seal` prints it") from error


@click.command()
@click.option(
    "--bank-host", "bank_hosts", multiple=True, metavar="URL", help="Admin address of a bank host; repeatable."
)
@click.option(
    "--expect-seal",
    "expected",
    multiple=True,
    metavar="NUMBER:DIGEST",
    callback=_expected,
    help="A seal that must stand, as it was printed or logged and kept outside; repeatable.",
)
@click.option(
    "--seal-certificate",
    "certificates",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Whose seals to trust; repeatable. Without it: seal*.crt of the installation.",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, on one line.")
def verify(
    bank_hosts: tuple[str, ...], expected: list[ExpectedSeal], certificates: tuple[Path, ...], as_json: bool
) -> None:
    """Check every invariant of the ledger, its seals and, given bank hosts, that their books equal ours to the fen.

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
            return await prove(pool, bank_hosts, trusted, expected)
        finally:
            await pool.close()

    with told(), database_server(load_settings(os.environ)) as settings:
        trusted = load_seal_certificates(certificates) if certificates else own_seal_certificates(settings.pki_dir)
        try:
            proof = asyncio.run(check(settings))
        except (aiohttp.ClientError, AdminError, TimeoutError) as error:
            raise click.ClickException(f"a bank host does not answer: {error}") from error
        except asyncpg.UndefinedTableError:
            raise click.ClickException("the database has no books yet; `settlement init` makes them") from None
    click.echo(proof.as_json() if as_json else "\n".join(proof.lines()))
    if proof.violations:
        raise SystemExit(VIOLATIONS_EXIT)
