"""Seals: what was committed is sealed once, a late commit in the next; every change of the past is found and named."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.records import SagaKey
from settlement.ledger.seals import sealing
from settlement.ledger.seals.checking import ExpectedSeal, SealReport, verify_seals
from settlement.ledger.seals.seal import Seal, SealError
from settlement.ledger.seals.sealing import Sealer
from settlement.ledger.seals.snapshot import Snapshot
from settlement.ledger.seals.tables import SEALED_TABLES, window_of
from settlement.security.seal_key import SealKey, create_seal_key, load_seal_key, own_seal_certificates
from terminal_sdk.crypto import Sm2PublicKey
from tests.support.database import TestDatabases
from tests.support.ledger_world import NOW, TODAY, LedgerWorld, line
from tests.support.tampering import clear, disarm, tamper


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> dt.datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class SealWorld:
    """Books with a sealer, and whom its checks trust."""

    def __init__(self, books: LedgerWorld, folder: Path) -> None:
        self.books = books
        self.pool = books.pool
        self.clock = SetClock()
        create_seal_key(folder, self.clock)
        self.key: SealKey = load_seal_key(folder)
        self.trusted = dict(own_seal_certificates(folder))

    def sealer(self, key: SealKey | None = None) -> Sealer:
        return Sealer(self.pool, key or self.key, self.clock)

    async def seal(self) -> Seal:
        """Seal a minute later; there must be something new."""
        self.clock.moment += dt.timedelta(minutes=1)
        made = await self.sealer().seal()
        assert made is not None
        return made

    async def settled(self) -> SagaKey:
        """A bill of 15.00 yuan, 10.00 of it on the account, paid."""
        key = await self.books.hold_judged(await self.books.person(1_000), line(1_500))
        assert await self.books.answer(key, "approved") == "capture"
        return key

    async def turned(self) -> int:
        """A person whose year is opened while a bill is open, which is declined afterwards; the rest follows."""
        person = await self.books.person(1_000)
        key = await self.books.hold(person, line(1_500))
        await self.books.open_year(person, 2018, 500)
        assert await self.books.answer(key, "declined") == "decline"
        assert await self.books.sweep(person, 2018) == 1_000
        return person

    async def check(self, *expected: ExpectedSeal, trusted: dict[str, Sm2PublicKey] | None = None) -> SealReport:
        return await verify_seals(self.pool, self.trusted if trusted is None else trusted, expected)

    def month(self, later: int) -> str:
        """The name of this month, or a later one, as partitions carry it."""
        months = TODAY.year * 12 + TODAY.month - 1 + later
        return f"{months // 12}{months % 12 + 1:02}"

    async def findings(self, *expected: ExpectedSeal) -> list[str]:
        return [each.finding for each in (await self.check(*expected)).violations]


@pytest.fixture(scope="module")
async def disarmed(database: TestDatabases) -> AsyncIterator[LedgerWorld]:
    """Books that may be spoilt, in one database for all tests here: nobody verifies them at the end."""
    dsn = await database.create()
    pool = await create_pool(Settings(database_url=dsn))
    books = LedgerWorld(pool)
    await books.prepare()
    await disarm(pool)
    yield books
    await pool.close()
    await database.drop(dsn)


@pytest.fixture
async def seals(disarmed: LedgerWorld, tmp_path: Path) -> AsyncIterator[SealWorld]:
    """Empty books and a seal key of the test's own."""
    yield SealWorld(disarmed, tmp_path)
    await clear(disarmed.pool)


UNPARTITIONED = ("account_credit", "account_year", "account_year_sweep")


def transfer_of(key: SagaKey, part: str) -> str:
    return f"transfer person_id={key.person_id} posting_date={TODAY} saga_id={key.saga_id} part={part}"


async def total_rows(pool: asyncpg.Pool) -> int:
    return sum([await pool.fetchval(f"select count(*) from {table.name}") for table in SEALED_TABLES])  # noqa: S608


async def test_every_row_is_sealed_once(seals: SealWorld) -> None:
    key = await seals.settled()
    await seals.turned()
    assert await seals.sealer().unsealed() == await total_rows(seals.pool) > 10
    first = await seals.seal()
    assert first.statement.rows == await total_rows(seals.pool)
    await seals.books.reverse(key)
    second = await seals.seal()
    assert first.statement.rows + second.statement.rows == await total_rows(seals.pool)
    assert second.statement.previous_digest == first.digest
    assert set(first.statement.tables) | set(second.statement.tables) == {table.name for table in SEALED_TABLES}
    report = await seals.check()
    assert report.violations == []
    assert (report.seals, report.sealed_rows, report.unsealed_rows) == (2, await total_rows(seals.pool), 0)
    assert report.last == second
    assert await seals.sealer().seal() is None, "nothing is new"


async def test_what_is_not_sealed_yet_is_stated(seals: SealWorld) -> None:
    await seals.settled()
    before = await seals.check()
    assert (before.violations, before.seals, before.unsealed_rows) == ([], 0, await total_rows(seals.pool))
    sealed = await seals.seal()
    await seals.settled()
    after = await seals.check()
    assert after.violations == []
    assert (
        after.unsealed_rows == await total_rows(seals.pool) - sealed.statement.rows == await seals.sealer().unsealed()
    )


async def test_moves_after_the_seal_leave_the_facts_as_they_are(seals: SealWorld) -> None:
    """Leg, settlement and balances change after their first seal; cash takes the bank's share. That is no tampering."""
    key = await seals.books.hold(await seals.books.person(100), line(300), on_bank_decline="cash")
    await seals.seal()
    assert await seals.books.answer(key, "declined") == "cash"
    await seals.seal()
    await seals.books.reverse(key)
    await seals.seal()
    assert await seals.findings() == []


async def test_a_late_commit_is_in_the_next_seal(seals: SealWorld) -> None:
    """A transaction that began before a seal and commits after it, while younger ones were sealed already."""
    person = await seals.books.person()
    late_id = uuid.uuid4()
    async with seals.pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "select credit_account($1, $2, 'current_year', 100, 'late', $3, $4)", person, late_id, TODAY, NOW
        )
        await seals.settled()
        first = await seals.seal()
        assert first.statement.snapshot.running, "the slow transaction is known to run"
        during = await seals.check()
        assert (during.violations, during.unsealed_rows) == ([], 0)
        await transaction.commit()
    after = await seals.check()
    assert (after.violations, after.unsealed_rows) == ([], 2)
    await seals.settled()
    second = await seals.seal()
    keys = await seals.pool.fetchval(
        "select row_keys from seal_leaf where seal_no = 2 and table_name = 'account_credit'"
    )
    assert f"{person}/{late_id}" in keys
    assert first.statement.rows + second.statement.rows == await total_rows(seals.pool)
    assert await seals.findings() == []


async def test_what_was_rolled_back_is_in_no_seal(seals: SealWorld) -> None:
    person = await seals.books.person()
    async with seals.pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "select credit_account($1, $2, 'current_year', 1, 'x', $3, $4)", person, uuid.uuid4(), TODAY, NOW
        )
        await seals.settled()
        await seals.seal()
        await transaction.rollback()
    await seals.settled()
    await seals.seal()
    assert await seals.findings() == []


async def test_a_changed_amount_is_named(seals: SealWorld) -> None:
    await seals.settled()
    key = await seals.settled()
    await seals.seal()
    await tamper(
        seals.pool, "transfer", "update transfer set amount_fen = 1 where saga_id = $1 and part = 'bank'", key.saga_id
    )
    assert await seals.findings() == [f"{transfer_of(key, 'bank')} was changed after seal 1"]
    await seals.settled()
    await seals.seal()
    assert await seals.findings() == [f"{transfer_of(key, 'bank')} was changed after seal 1"], (
        "also when the chain goes on"
    )


CHANGES = {
    "settlement": "visit_type = 'pharmacy'",
    "settlement_bill": "lines = '[]'",
    "leg": "amount_fen = amount_fen + 1",
    "leg_move": "cause = 'another'",
    "hold": "held_at = held_at + interval '1 microsecond'",
    "hold_end": "ended_at = ended_at + interval '1 microsecond'",
    "receipt": "kind = 'reversal'",
    "outbox_event": "happened_at = happened_at + interval '1 day'",
    "account_credit": "reason = 'bribe'",
    "account_year": "rolled_fen = rolled_fen + 1",
    "account_year_sweep": "rolled_fen = rolled_fen + 1",
    "undo": "reason = 'another'",
    "accumulator_move": "moved_at = moved_at + interval '1 day'",
    "undo_line": "amount_fen = amount_fen + 1",
    "transfer": "credit_account = 'bank/ABC'",
}


async def test_a_change_in_any_table_is_named(seals: SealWorld) -> None:
    await seals.books.reverse(await seals.settled())
    await seals.turned()
    await seals.seal()
    assert set(CHANGES) == {table.name for table in SEALED_TABLES}
    for table, change in CHANGES.items():
        await tamper(seals.pool, table, f"update {table} set {change}")  # noqa: S608 - our own names
    findings = await seals.findings()
    assert len(findings) == await total_rows(seals.pool)
    assert {each.split()[0] for each in findings} == set(CHANGES)
    assert all(each.endswith("was changed after seal 1") for each in findings)


async def test_a_removed_row_is_named(seals: SealWorld) -> None:
    key = await seals.settled()
    await seals.settled()
    await seals.seal()
    await tamper(
        seals.pool, "transfer", "delete from transfer where saga_id = $1 and part = 'current_year'", key.saga_id
    )
    assert await seals.findings() == [f"{transfer_of(key, 'current_year')} was removed after seal 1"]


INSERT = """insert into transfer select person_id, posting_date, $2, part, debit_account, credit_account, amount_fen,
            acceptance_date, {posted_at}{tx} from transfer where saga_id = $1 and part = 'bank'"""


async def test_a_row_inserted_under_an_old_transaction_is_named(seals: SealWorld) -> None:
    key, other = await seals.settled(), uuid.uuid4()
    await seals.settled()
    await seals.seal()
    await seals.pool.execute(INSERT.format(posted_at="posted_at", tx=", tx"), key.saga_id, other)
    named = transfer_of(dataclasses.replace(key, saga_id=other), "bank")
    assert await seals.findings() == [f"{named} was inserted: by its transaction seal 1 would hold it"]


@pytest.mark.parametrize("sealed_since", [False, True])
async def test_a_row_inserted_today_that_says_it_is_old_is_named(seals: SealWorld, *, sealed_since: bool) -> None:
    """Before a seal holds it, and after one took it for new."""
    key, other = await seals.settled(), uuid.uuid4()
    await seals.seal()
    await seals.pool.execute(INSERT.format(posted_at="posted_at - interval '2 hours'", tx=""), key.saga_id, other)
    if sealed_since:
        await seals.seal()
    (finding,) = await seals.findings()
    assert finding.startswith(f"{transfer_of(dataclasses.replace(key, saga_id=other), 'bank')} was inserted")


async def test_a_row_of_a_transaction_that_never_was_is_named(seals: SealWorld) -> None:
    """Otherwise it would never be sealed, and never missed."""
    key, other = await seals.settled(), uuid.uuid4()
    await seals.seal()
    await seals.pool.execute(INSERT.format(posted_at="posted_at", tx=f", {1 << 60}"), key.saga_id, other)
    (finding,) = await seals.findings()
    assert finding.endswith(f"was inserted: transaction {1 << 60} was never given")


async def test_a_row_moved_to_another_transaction_is_named(seals: SealWorld) -> None:
    key = await seals.settled()
    await seals.seal()
    await seals.settled()
    await seals.seal()
    await tamper(
        seals.pool,
        "transfer",
        "update transfer set tx = (select max(tx) from transfer) where saga_id = $1 and part = 'bank'",
        key.saga_id,
    )
    assert sorted(await seals.findings()) == [
        f"{transfer_of(key, 'bank')} was inserted: by its transaction seal 2 would hold it",
        f"{transfer_of(key, 'bank')} was removed after seal 1",
    ]


async def test_row_and_hash_changed_together_break_the_root(seals: SealWorld) -> None:
    await seals.settled()
    await seals.seal()
    other = await other_books_hash(seals)
    await tamper(seals.pool, "transfer", "update transfer set amount_fen = 1 where part = 'bank'")
    await tamper(
        seals.pool, "seal_leaf", "update seal_leaf set hashes = $1 where table_name = 'transfer' and seal_no = 1", other
    )
    assert await seals.findings() == [
        "transfer: the hashes stored for seal 1 are not those that were signed (3 stored, 3 signed)"
    ]


async def other_books_hash(seals: SealWorld) -> bytes:
    """The hashes that the changed rows would have, as whoever changed them can work out."""
    async with seals.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("update transfer set amount_fen = 1 where part = 'bank'")
        await connection.execute("set local timezone = 'UTC'")
        table = next(each for each in SEALED_TABLES if each.name == "transfer")
        rows = await connection.fetch(f'select content from ({table.rows}) r order by row_key collate "C"')  # noqa: S608
        await transaction.rollback()
    return b"".join(sealing.leaf_hash(row["content"].encode()) for row in rows)


async def test_row_hash_and_root_changed_together_break_the_signature(seals: SealWorld) -> None:
    await seals.settled()
    await seals.seal()
    await tamper(seals.pool, "seal", "update seal set root = sha256('x')")
    assert (await seals.findings())[0] == "seal 1 is not what was signed: its root is not that of its tables"


async def test_a_changed_boundary_breaks_the_signature(seals: SealWorld) -> None:
    await seals.settled()
    await seals.seal()
    await tamper(seals.pool, "seal", "update seal set snapshot = '3:3:'")
    assert (await seals.findings())[0] == "seal 1 is not what was signed: its signature does not hold"


async def test_hashes_removed_with_their_rows_break_the_root(seals: SealWorld) -> None:
    await seals.settled()
    await seals.seal()
    await tamper(seals.pool, "transfer", "delete from transfer")
    await tamper(seals.pool, "seal_leaf", "delete from seal_leaf where table_name = 'transfer'")
    assert await seals.findings() == [
        "transfer: the hashes stored for seal 1 are not those that were signed (0 stored, 3 signed)"
    ]


async def remove_seal(pool: asyncpg.Pool, seal_no: int) -> None:
    await tamper(pool, "seal_leaf", "delete from seal_leaf where seal_no = $1", seal_no)
    await tamper(pool, "seal", "delete from seal where seal_no = $1", seal_no)


async def test_a_seal_removed_from_the_middle_is_missed(seals: SealWorld) -> None:
    for _ in range(3):
        await seals.settled()
        await seals.seal()
    await remove_seal(seals.pool, 2)
    findings = await seals.findings()
    assert findings[0] == "seal 2 is missing"
    assert "transfer: 3 rows up to seal 3 are in no seal that stands" in findings
    assert not any("was inserted" in each for each in findings)


async def test_the_first_seal_removed_is_missed(seals: SealWorld) -> None:
    for _ in range(2):
        await seals.settled()
        await seals.seal()
    await remove_seal(seals.pool, 1)
    assert (await seals.findings())[0] == "seal 1 is missing"


async def test_another_seal_of_the_own_key_does_not_fit(seals: SealWorld) -> None:
    """Signed in a copy of these books, say, and put in the place of the one that was made here."""
    for _ in range(2):
        await seals.settled()
        made = await seals.seal()
    other = dataclasses.replace(made.statement, previous_digest=b"x" * 32)
    signature = seals.key.private.sign(other.to_be_signed(), sealing.SIGNER_ID)
    await tamper(
        seals.pool,
        "seal",
        "update seal set previous_digest = $1, signature = $2 where seal_no = 2",
        other.previous_digest,
        signature,
    )
    assert await seals.findings() == ["seal 2 does not follow the seal 1 that stands: it names another"]


async def test_a_removed_last_seal_is_missed_by_who_kept_its_digest(seals: SealWorld) -> None:
    await seals.settled()
    await seals.seal()
    await seals.settled()
    kept = await seals.seal()
    expected = ExpectedSeal.parse(kept.label)
    assert await seals.findings(expected) == []
    await remove_seal(seals.pool, 2)
    assert await seals.findings() == [], "nothing in the database tells"
    assert await seals.findings(expected) == ["seal 2 is expected and missing: the last is 1"]
    await seals.settled()
    again = await seals.seal()
    assert await seals.findings(expected) == [f"seal 2 is not the one expected: its digest is {again.digest.hex()}"]


async def test_a_sealer_does_not_go_on_without_the_seal_it_made(seals: SealWorld) -> None:
    sealer = seals.sealer()
    await seals.settled()
    made = await sealer.seal()
    assert made is not None
    await remove_seal(seals.pool, 1)
    with pytest.raises(SealError, match=f"seal {made.label} stood in the database and is gone"):
        await sealer.seal()
    await seals.sealer().seal()
    with pytest.raises(SealError, match=f"seal {made.label} stood in the database and is gone"):
        await sealer.seal()


async def test_a_forged_seal_is_not_trusted(seals: SealWorld, tmp_path: Path) -> None:
    """Removed and made again over changed rows, by somebody with a key of their own."""
    key = await seals.settled()
    await seals.seal()
    await remove_seal(seals.pool, 1)
    await tamper(
        seals.pool, "transfer", "update transfer set amount_fen = 1 where saga_id = $1 and part = 'bank'", key.saga_id
    )
    create_seal_key(tmp_path / "forger", seals.clock)
    forger = load_seal_key(tmp_path / "forger")
    assert await seals.sealer(forger).seal() is not None
    assert (await seals.findings())[0] == f"seal 1 is signed by a key that is not trusted here: {forger.signer}"
    await tamper(seals.pool, "seal", "update seal set signer = $1", seals.key.signer)
    assert (await seals.findings())[0] == "seal 1 is not what was signed: its signature does not hold"


async def test_seals_of_a_retired_key_are_trusted_by_its_certificate(seals: SealWorld, tmp_path: Path) -> None:
    await seals.settled()
    await seals.seal()
    (tmp_path / "seal.pem").unlink()
    (tmp_path / "seal.crt").rename(tmp_path / "seal-2026.crt")
    create_seal_key(tmp_path, seals.clock)
    await seals.settled()
    assert await seals.sealer(load_seal_key(tmp_path)).seal() is not None
    trusted = dict(own_seal_certificates(tmp_path))
    assert len(trusted) == 2
    assert (await seals.check(trusted=trusted)).violations == []


async def test_two_sealers_at_once_make_one_seal(seals: SealWorld) -> None:
    for _ in range(8):
        await seals.settled()
        before = await seals.pool.fetchval("select count(*) from seal")
        made = await asyncio.gather(*(seals.sealer().seal() for _ in range(4)))
        assert sum(each is not None for each in made) == 1
        assert await seals.pool.fetchval("select count(*) from seal") == before + 1
    assert await seals.findings() == []


async def test_while_another_seals_it_is_left_to_the_other(seals: SealWorld) -> None:
    await seals.settled()
    async with seals.pool.acquire() as other, other.transaction():
        await other.execute("select pg_advisory_xact_lock($1)", sealing.LOCK_KEY)
        assert await seals.sealer().seal() is None
    assert await seals.sealer().seal() is not None


async def test_a_number_taken_since_the_snapshot_is_left_to_who_took_it(seals: SealWorld) -> None:
    """The other ends between this one's snapshot and its lock: this one sees neither lock nor seal, only the key."""
    await seals.settled()
    async with seals.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("set constraints all deferred")
        await other.execute("insert into seal_leaf values (1, 'account_credit', 0, array['x'], sha256('x'))")
        await other.execute(
            """insert into seal values (1, sha256('x'), '3:3:', '{}', sha256('x'), $1, repeat('0', 64),
                                        sha512('x'))""",
            NOW,
        )
        task = asyncio.create_task(seals.sealer().seal())
        while not await seals.pool.fetchval("select exists (select from pg_locks where not granted)"):
            await asyncio.sleep(0.01)
        await transaction.commit()
    assert await task is None
    assert await seals.pool.fetchval("select count(*) from seal") == 1


async def test_a_sealer_that_dies_leaves_nothing(seals: SealWorld) -> None:
    """Its connection is cut while it works; the next one seals everything."""
    for _ in range(3):
        await seals.settled()

    class Dying(SetClock):
        """Looked at in the middle of the transaction."""

        def now(self) -> dt.datetime:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Sealer(seals.pool, seals.key, Dying()).seal()
    async with seals.pool.acquire() as reader, reader.transaction():
        # Sealing reads undo_line last of all: held up there, everything else is written already.
        await reader.execute("lock table undo_line in access exclusive mode")
        task = asyncio.create_task(seals.sealer().seal())
        while not (
            victim := await reader.fetchval(
                "select pid from pg_locks where not granted and relation = 'undo_line'::regclass"
            )
        ):
            await asyncio.sleep(0.01)
        await reader.execute("select pg_terminate_backend($1)", victim)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await task
    assert await seals.pool.fetchval("select count(*) from seal_leaf") == 0
    made = await seals.seal()
    assert (made.statement.seal_no, made.statement.rows) == (1, await total_rows(seals.pool))
    assert await seals.findings() == []


async def test_a_seal_younger_than_asked_is_enough(seals: SealWorld) -> None:
    await seals.settled()
    await seals.seal()
    await seals.settled()
    seals.clock.moment += dt.timedelta(seconds=30)
    assert await seals.sealer().seal(not_within_s=31) is None
    assert await seals.sealer().seal(not_within_s=30) is not None


async def test_many_chunks_are_compared_in_step(seals: SealWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CHUNK_ROWS", 2)
    keys = [await seals.settled() for _ in range(3)]
    await seals.seal()
    keys += [await seals.settled() for _ in range(3)]
    await seals.seal()
    assert await seals.pool.fetchval("select max(chunk_no) from seal_leaf") == 5
    assert await seals.findings() == []
    await tamper(seals.pool, "receipt", "delete from receipt where saga_id = $1", keys[1].saga_id)
    await tamper(
        seals.pool,
        "transfer",
        "update transfer set amount_fen = 7 where saga_id = $1 and part = 'bank'",
        keys[4].saga_id,
    )
    assert await seals.findings() == [
        f"receipt person_id={keys[1].person_id} acceptance_date={TODAY} saga_id={keys[1].saga_id} "
        "was removed after seal 1",
        f"{transfer_of(keys[4], 'bank')} was changed after seal 2",
    ]


async def test_findings_are_listed_up_to_a_limit(seals: SealWorld) -> None:
    person = await seals.books.person()
    for _ in range(60):
        await seals.books.credit(person, "current_year", 1)
    await seals.seal()
    await tamper(seals.pool, "account_credit", "update account_credit set amount_fen = 2")
    findings = await seals.findings()
    assert len(findings) == 51
    assert findings[-1] == "and 10 more"


async def test_seals_are_append_only(world: LedgerWorld, tmp_path: Path) -> None:
    seals = SealWorld(world, tmp_path)
    await seals.settled()
    await seals.seal()
    for statement in (
        "update seal set seal_no = 2",
        "delete from seal",
        "truncate seal cascade",
        "update seal_leaf set chunk_no = 7",
        "delete from seal_leaf",
        "truncate seal_leaf",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await seals.pool.execute(statement)


async def test_books_moved_to_a_cluster_with_lower_numbers_are_refused(seals: SealWorld) -> None:
    """A dump restored elsewhere: transactions are numbered anew there."""
    await seals.settled()
    made = await seals.seal()
    high = dataclasses.replace(
        made.statement,
        snapshot=Snapshot.parse("1099511627781:1099511627781:"),
        snapshot_text="1099511627781:1099511627781:",
    )
    signature = seals.key.private.sign(high.to_be_signed(), sealing.SIGNER_ID)
    await tamper(seals.pool, "seal", "update seal set snapshot = $1, signature = $2", high.snapshot_text, signature)
    with pytest.raises(SealError, match="moved to another database cluster"):
        await seals.sealer().seal()
    assert "moved to another database cluster" in (await seals.findings())[-1]


async def test_every_window_is_found_by_an_index(seals: SealWorld) -> None:
    """Sealing reads what is new, not the table; partitions of far months are empty, and have no index."""
    values = {"$1": "5", "$2": "9", "$3": "'{}'", "$4": "20", "$5": "'{}'"}
    months = [seals.month(0), seals.month(1)]
    async with seals.pool.acquire() as connection:
        for table in SEALED_TABLES:
            statement = window_of(table)
            for name, value in values.items():
                statement = statement.replace(name, value)
            plan = "\n".join(row[0] for row in await connection.fetch(f"explain {statement}"))
            parts = [table.name] if table.name in UNPARTITIONED else [f"{table.name}_{month}" for month in months]
            for part in parts:
                assert f"Bitmap Index Scan on {part}_tx" in plan, plan


async def test_a_partition_gets_its_index_in_time(seals: SealWorld) -> None:
    assert await seals.pool.fetchval("select ensure_seal_indexes($1)", TODAY) == 0
    far = (TODAY.replace(day=1) + dt.timedelta(days=200)).replace(day=1)
    partitioned = len(SEALED_TABLES) - len(UNPARTITIONED)
    assert await seals.pool.fetchval("select ensure_seal_indexes($1)", far) == 3 * partitioned


async def test_code_and_database_seal_the_same_tables(seals: SealWorld) -> None:
    names = await seals.pool.fetch("select name from sealed_table order by name")
    assert [row["name"] for row in names] == [table.name for table in SEALED_TABLES]
