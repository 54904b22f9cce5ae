"""`settlement seal` and what `settlement verify` says of seals; the keeper that seals while a service runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prometheus_client import REGISTRY

from settlement.bootstrap import prepare_installation
from settlement.cli.seal import seal
from settlement.cli.verify import verify
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.ledger.seals.keeper import keep_sealing
from settlement.ledger.seals.sealing import Sealer
from settlement.security.authorities import AuthorityError
from settlement.security.seal_key import SealKey, create_seal_key, load_seal_certificates, load_seal_key
from terminal_sdk.crypto import Sm2PrivateKey, sm3
from tests.support.database import TestDatabases
from tests.support.ledger_world import NOW, LedgerWorld, line
from tests.support.tampering import disarm, tamper


async def new_books(dsn: str) -> LedgerWorld:
    books = LedgerWorld(await create_pool(Settings(database_url=dsn)))
    if not await books.pool.fetchval("select exists (select from institution)"):
        await books.prepare()
    return books


async def test_the_commands_tell_what_is_sealed(database: TestDatabases, tmp_path: Path) -> None:
    """One installation from the first seal to a found forgery, as an operator sees it."""
    dsn = await database.create()
    settings = Settings(database_url=dsn, data_dir=tmp_path, db_pool_min=0)
    prepare_installation(settings, SystemClock())
    environment = {"SETTLEMENT_DATABASE_URL": dsn, "SETTLEMENT_DATA_DIR": str(tmp_path)}

    async def run(command: object, *words: str, status: int = 0) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, command, words, env=environment)  # type: ignore[arg-type]
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    books = await new_books(dsn)
    await disarm(books.pool)
    assert (await run(seal, "--once")).output == "nothing new; there is no seal yet\n"
    assert "seals: none yet; 0 rows not sealed" in (await run(verify)).output
    await books.hold(await books.person(1_000), line(500))

    told = (await run(seal, "--once")).output
    label, rows = told.split()[0], int(told.split()[1])
    assert (await run(seal, "--once")).output == f"nothing new; the last seal is {label}\n"
    lines = (await run(verify, "--expect-seal", label)).output.splitlines()
    assert f"seals: 1 over {rows} rows; last {label}" in lines
    assert any(each.startswith("not sealed yet: 0 rows, since 20") for each in lines)
    assert lines[-1] == "0 violations"
    machine = json.loads((await run(verify, "--json")).output)["seals"]
    assert (machine["seals"], machine["sealed_rows"], machine["unsealed_rows"], machine["last"]) == (1, rows, 0, label)

    exported = json.loads((await run(seal, "export")).output)
    assert exported["seal"] == label
    assert label == f"1:{sm3(exported['statement'].encode() + bytes.fromhex(exported['signature'])).hex()}"
    assert (await run(seal, "export", "--after", "1")).output == ""

    wrong = f"1:{'00' * 32}"
    found = (await run(verify, "--expect-seal", wrong, "--json", status=2)).output
    assert json.loads(found)["violations"] == [
        {"invariant": "seals", "finding": f"seal 1 is not the one expected: its digest is {label.partition(':')[2]}"}
    ]
    assert "expected NUMBER:DIGEST" in (await run(verify, "--expect-seal", "1:xyz", status=2)).output
    create_seal_key(tmp_path / "other", SystemClock())
    other = str(tmp_path / "other" / "seal.crt")
    assert (
        "VIOLATION seals: seal 1 is signed by a key"
        in (await run(verify, "--seal-certificate", other, status=2)).output
    )
    await tamper(
        books.pool, "transfer", "update transfer set amount_fen = 501 where part = 'current_year' and amount_fen = 500"
    )
    assert " was changed after seal 1\n" in (await run(verify, status=2)).output

    (tmp_path / "pki" / "seal.pem").chmod(0o644)
    assert "can be read by others: chmod 600" in (await run(seal, "--once", status=1)).output
    await books.pool.close()
    await database.drop(dsn)


class Paced:
    """A clock whose sleeper is let go by the test, one round at a time."""

    def __init__(self) -> None:
        self.moment = NOW
        self.slept: list[float] = []
        self.asleep = asyncio.Event()
        self.awake = asyncio.Event()

    def now(self) -> dt.datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.asleep.set()
        await self.awake.wait()
        self.awake.clear()
        self.moment += dt.timedelta(seconds=seconds)

    async def round(self) -> None:
        self.asleep.clear()
        self.awake.set()
        await self.asleep.wait()


def gauge(name: str) -> float:
    value = REGISTRY.get_sample_value(name)
    assert value is not None
    return value


async def test_a_service_seals_at_intervals_and_shows_what_is_not_sealed(world: LedgerWorld) -> None:
    own = Sm2PrivateKey.generate()
    clock = Paced()
    keeper = asyncio.create_task(keep_sealing(Sealer(world.pool, SealKey(own, "ab" * 32), clock), clock, 60))
    try:
        await clock.asleep.wait()
        assert gauge("settlement_seal_age_seconds") == 0
        await world.hold(await world.person(1_000), line(500))
        await clock.round()
        assert await world.pool.fetchval("select count(*) from seal") == 1
        assert gauge("settlement_unsealed_rows") == 0
        # Another process seals in between: this one leaves it at that, and shows what came since.
        await world.hold(await world.person(1_000), line(500))
        clock.moment += dt.timedelta(seconds=30)
        other = Sealer(world.pool, SealKey(own, "ab" * 32), clock)
        assert await other.seal() is not None
        clock.moment -= dt.timedelta(seconds=30)
        await world.hold(await world.person(1_000), line(500))
        await clock.round()
        assert await world.pool.fetchval("select count(*) from seal") == 2
        assert gauge("settlement_unsealed_rows") > 5
        assert gauge("settlement_seal_age_seconds") == 30
        await clock.round()
        assert await world.pool.fetchval("select count(*) from seal") == 3
        assert set(clock.slept) == {60}
        # A seal that cannot be made is counted, told, and tried again.
        failures = gauge("settlement_seal_failures_total")
        await world.hold(await world.person(1_000), line(500))
        await world.pool.execute("alter table seal_leaf rename to hidden")
        await clock.round()
        assert gauge("settlement_seal_failures_total") == failures + 1
        await world.pool.execute("alter table hidden rename to seal_leaf")
        await clock.round()
        assert await world.pool.fetchval("select count(*) from seal") == 4
    finally:
        keeper.cancel()


def test_the_key_is_its_owners_and_the_certificate_everybodys(tmp_path: Path) -> None:
    clock = SystemClock()
    assert create_seal_key(tmp_path, clock) == [tmp_path / "seal.pem", tmp_path / "seal.crt"]
    assert create_seal_key(tmp_path, clock) == []
    assert stat.S_IMODE((tmp_path / "seal.pem").stat().st_mode) == 0o600
    key = load_seal_key(tmp_path)
    assert load_seal_certificates([tmp_path / "seal.crt"]) == {key.signer: key.private.public_key}
    (tmp_path / "seal.crt").unlink()
    assert create_seal_key(tmp_path, clock) == [tmp_path / "seal.crt"]
    assert load_seal_certificates([tmp_path / "seal.crt"]) == {key.signer: key.private.public_key}


def test_a_missing_or_foreign_seal_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match=r"there is no seal key at .*; `settlement init` makes one"):
        load_seal_key(tmp_path)
    create_seal_key(tmp_path, SystemClock())
    create_seal_key(tmp_path / "other", SystemClock())
    mine, theirs = tmp_path / "seal.pem", tmp_path / "other" / "seal.pem"
    private, _, _ = mine.read_text().partition("-----BEGIN CERTIFICATE")
    _, _, certificate = theirs.read_text().partition("-----BEGIN CERTIFICATE")
    mine.write_text(f"{private}-----BEGIN CERTIFICATE{certificate}")
    with pytest.raises(AuthorityError, match="the certificate belongs to another key"):
        load_seal_key(tmp_path)
    mine.write_text("nothing")
    with pytest.raises(AuthorityError, match="cannot read the seal key"):
        load_seal_key(tmp_path)
    with pytest.raises(AuthorityError, match="cannot read the seal certificate"):
        load_seal_certificates([mine])
