"""Checking the seals: chain, signatures, the roots from the stored hashes, the hashes from the rows; faults by name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from settlement.db.pool import Connection, plan_freely
from settlement.ledger.records import Row
from settlement.ledger.seals.compare import BACKDATED_AFTER, Link, TableComparison
from settlement.ledger.seals.findings import Findings
from settlement.ledger.seals.seal import BEFORE_THE_FIRST, Seal, Statement, seal_of
from settlement.ledger.seals.sealing import SESSION, count_rows
from settlement.ledger.seals.snapshot import NOTHING, Snapshot
from settlement.ledger.seals.tables import READABLE, SEALED_TABLES, SQL, suspects_of, window
from settlement.ledger.verify import Violation
from terminal_sdk.crypto import SignatureInvalid, Sm2PublicKey

GROUP_SEALS = 64
"""Seals whose rows are read together: fewer statements, and one chunk of hashes in memory for each."""


@dataclass(frozen=True, slots=True)
class ExpectedSeal:
    """A seal known from outside the database. ``digest``: 32 bytes."""

    seal_no: int
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> ExpectedSeal:
        """From ``NUMBER:DIGEST`` as ``settlement seal`` prints it. ``ValueError`` for anything else."""
        number, _, digest = text.strip().partition(":")
        found = cls(int(number), bytes.fromhex(digest))
        if found.seal_no < 1 or len(found.digest) != len(BEFORE_THE_FIRST):
            raise ValueError(f"not a seal's NUMBER:DIGEST: {text!r}")
        return found


@dataclass(frozen=True, slots=True)
class SealReport:
    """What ``verify_seals`` saw. ``sealed_rows``: as the seals say; ``unsealed_rows``: committed since ``last``."""

    violations: list[Violation]
    seals: int
    sealed_rows: int
    unsealed_rows: int
    last: Seal | None


async def verify_seals(
    pool: asyncpg.Pool, trusted: Mapping[str, Sm2PublicKey], expected: Sequence[ExpectedSeal] = ()
) -> SealReport:
    """Check all seals and all sealed rows on one snapshot; changes nothing. The service may be at work.

    ``trusted``: whose signatures count, by the fingerprint of the certificate. ``expected``: seals that must stand.
    Memory does not grow with the number of rows; up to 50 findings are listed.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(SESSION)
        await plan_freely(connection)
        return await _Check(connection, trusted, expected).run()


class _Check:
    def __init__(
        self, connection: Connection, trusted: Mapping[str, Sm2PublicKey], expected: Sequence[ExpectedSeal]
    ) -> None:
        self._connection = connection
        self._trusted = trusted
        self._expected = expected
        self._findings = Findings()
        self._last: Seal | None = None
        self._last_no = 0
        self._seals = 0
        self._sealed_rows = 0

    async def run(self) -> SealReport:
        while rows := await self._connection.fetch(SQL["seals_after"], self._last_no, GROUP_SEALS):
            links = [link for row in rows if (link := self._link(row)) is not None]
            if links:
                await self._check_rows(links)
        await self._check_end()
        unsealed = await self._check_unsealed()
        return SealReport(self._findings.violations(), self._seals, self._sealed_rows, unsealed, self._last)

    def _link(self, row: Row) -> Link | None:
        """A seal in its place, its faults noted. None: it is not what was signed, and its rows are in no seal."""
        number, before = row["seal_no"], self._last
        self._seals += 1
        if number > self._last_no + 1:
            first = self._last_no + 1
            gone = f"seal {first} is" if number == first + 1 else f"seals {first} to {number - 1} are"
            self._findings.add(f"{gone} missing")
        self._last_no = number
        seal = self._sound(row)
        if seal is None:
            return None
        self._last = seal
        self._sealed_rows += seal.statement.rows
        if before is None:
            return Link(seal, NOTHING, None, doubtful=number > 1)
        doubtful = before.statement.seal_no != number - 1
        if not doubtful and seal.statement.previous_digest != before.digest:
            self._findings.add(f"seal {number} does not follow the seal {number - 1} that stands: it names another")
        return Link(seal, before.statement.snapshot, before.statement.signed_at, doubtful)

    def _sound(self, row: Row) -> Seal | None:
        """The seal, if it is one that a trusted key signed and that goes on from the last."""
        number = row["seal_no"]
        try:
            seal = seal_of(row)
        except (ValueError, TypeError) as error:
            self._findings.add(f"seal {number} is not what was signed: {error}")
            return None
        if any(each.seal_no == number and each.digest != seal.digest for each in self._expected):
            self._findings.add(f"seal {number} is not the one expected: its digest is {seal.digest.hex()}")
        key = self._trusted.get(seal.statement.signer)
        if key is None:
            self._findings.add(f"seal {number} is signed by a key that is not trusted here: {seal.statement.signer}")
            return None
        try:
            seal.check_signature(key)
        except SignatureInvalid:
            self._findings.add(f"seal {number} is not what was signed: its signature does not hold")
            return None
        if self._last is not None and seal.statement.snapshot.xmax < self._last.statement.snapshot.xmax:
            self._findings.add(f"seal {number} reaches less far than the seal {self._last.statement.seal_no} before it")
            return None
        return seal

    async def _check_rows(self, links: Sequence[Link]) -> None:
        for name in sorted({table.name for table in SEALED_TABLES}.union(*(x.seal.statement.tables for x in links))):
            for version, run in itertools.groupby(links, lambda link: _version(link.seal.statement, name)):  # noqa: B023 - used at once
                table = READABLE.get((name, version))
                if table is None:
                    self._findings.add(f"table {name}, version {version}, is sealed and not known to this release")
                else:
                    await TableComparison(table, list(run), self._findings).run(self._connection)

    async def _check_end(self) -> None:
        for each in self._expected:
            if each.seal_no > self._last_no:
                self._findings.add(f"seal {each.seal_no} is expected and missing: the last is {self._last_no}")
        stored = await self._connection.fetchval(SQL["last_leaves"])
        if stored is not None and stored > self._last_no:
            self._findings.add(f"seal {stored} is missing: hashes are stored for it, and the last is {self._last_no}")

    async def _check_unsealed(self) -> int:
        """How many rows no seal holds yet; one of them that should be in a seal by what it says is a finding."""
        now = Snapshot.parse(await self._connection.fetchval(SQL["snapshot"]))
        if self._last is None:
            return await count_rows(self._connection, NOTHING, now)
        last = self._last.statement
        if now.xmax < last.snapshot.xmax:
            self._findings.add(
                f"transactions are numbered from {now.xmax} here, and seal {last.seal_no} reaches to "
                f"{last.snapshot.xmax}: these books were moved to another database cluster"
            )
        oldest = last.signed_at - BACKDATED_AFTER
        for table in SEALED_TABLES:
            limits = (*window(last.snapshot, now)[:3], now.xmax, oldest)
            for row in await self._connection.fetch(suspects_of(table), *limits):
                why = (
                    f"transaction {row['tx']} was never given"
                    if row["tx"] >= now.xmax
                    else f"it says it is of {row['happened_at']:%Y-%m-%d %H:%M:%SZ}, and seal {last.seal_no} "
                    f"of {last.signed_at:%Y-%m-%d %H:%M:%SZ} does not hold it"
                )
                self._findings.add(f"{table.describe(row['row_key'])} was inserted: {why}")
        return await count_rows(self._connection, last.snapshot, now)


def _version(statement: Statement, name: str) -> int:
    """The version of a table's columns in a seal; where it has no rows there, the present one (nothing is hashed)."""
    said = statement.tables.get(name)
    return said.version if said else max(version for table, version in READABLE if table == name)
