"""The wiring: the one place where settings become a running service."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog

from settlement.banks.codes import Verb
from settlement.banks.directory import Directory, default_directory, derive_zone_keys, load_directory
from settlement.banks.port import BankPort
from settlement.banks.router import BankLinks
from settlement.banks.unmatched import LateAnswer
from settlement.businessdate import business_date
from settlement.cards.registry import CardRegistry
from settlement.cards.vault import Vault
from settlement.clock import Clock, SystemClock
from settlement.config import Settings
from settlement.db.migrate import check_migrated, migrate
from settlement.db.pool import create_pool, durability_report
from settlement.drain import CONNECTIONS_S, LINKS_S, Drain
from settlement.engine.bank_legs import BankLegs
from settlement.engine.context import EngineContext, EngineLimits
from settlement.engine.service import SettlementEngine
from settlement.ids import IdSource, SystemIds
from settlement.ledger.ledger import Ledger
from settlement.ledger.seals.keeper import keep_sealing
from settlement.ledger.seals.sealing import Sealer
from settlement.ledger.stays import StayBook
from settlement.policy.book import PlanBook
from settlement.policy.catalog_store import items_until
from settlement.security import KeyRing, Personal
from settlement.security.authorities import Authorities, create_authorities, load_authorities
from settlement.security.seal_key import create_seal_key, load_seal_key
from settlement.terminals import TerminalRegistry

ZONE_KEY_NAME = "bank-zone"
PARTITION_MONTHS_AHEAD = 14
_UPKEEP_EVERY_S = 3_600
_KEYS_A_STEP = 1_000

log = structlog.get_logger("settlement.upkeep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What every command that touches the database works with."""

    settings: Settings
    clock: Clock
    ids: IdSource
    keys: KeyRing
    authorities: Authorities
    pool: asyncpg.Pool
    personal: Personal
    cards: CardRegistry
    terminals: TerminalRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running engine with its partners."""

    base: Base
    engine: SettlementEngine
    ledger: Ledger
    directory: Directory
    links: BankLinks
    drain: Drain


def prepare_installation(settings: Settings, clock: Clock) -> list[Path]:
    """Make what a new installation lacks: master key, authorities, seal key. Returns the files made."""
    made = []
    if settings.master_key is None and not settings.master_key_path.exists():
        KeyRing.create_file(settings.master_key_path)
        made.append(settings.master_key_path)
    made += create_authorities(settings.pki_dir, clock)
    made += create_seal_key(settings.pki_dir, clock)
    return made


def bank_directory(settings: Settings) -> Directory:
    """The configured directory of banks, or the built-in one. Raises ``DirectoryError``."""
    return default_directory() if settings.bank_directory is None else load_directory(settings.bank_directory)


def plan_book(settings: Settings) -> PlanBook:
    """The configured plans, or those of this release. Raises ``PlanError``."""
    return PlanBook.load() if settings.plan_dir is None else PlanBook.load(settings.plan_dir)


def zone_master_key(keys: KeyRing) -> bytes:
    """The 16 bytes from which the banks' zone master keys are derived; the bank host stub gets the same."""
    return keys.derive(ZONE_KEY_NAME, 16)


@contextlib.asynccontextmanager
async def open_base(settings: Settings, *, prepared: bool = False) -> AsyncIterator[Base]:
    """Connect, migrate and wire the registries; ``settings.database_url`` is filled in (see ``database_server``).

    ``prepared``: another process has migrated; a database that is not as this release needs it is refused
    (``MigrationError``) instead of changed.
    """
    clock = SystemClock()
    ids = SystemIds(clock)
    keys = KeyRing.load(settings.master_key_path, settings.master_key)
    authorities = load_authorities(settings.pki_dir)
    pool = await create_pool(settings)
    try:
        await _prepare(pool, clock, settings, prepared=prepared)
        personal = Personal(keys)
        yield Base(
            settings=settings,
            clock=clock,
            ids=ids,
            keys=keys,
            authorities=authorities,
            pool=pool,
            personal=personal,
            cards=CardRegistry(pool, personal, keys, clock, [authorities.card.certificate]),
            terminals=TerminalRegistry(pool, keys, clock, ids, authorities.terminal, settings),
        )
    finally:
        await _close(pool)


async def _prepare(pool: asyncpg.Pool, clock: Clock, settings: Settings, *, prepared: bool) -> None:
    async with pool.acquire() as connection:
        if prepared:
            await check_migrated(connection)
        else:
            await migrate(connection)
    if not prepared:
        await ensure_partitions(pool, clock, settings)


async def _close(pool: asyncpg.Pool) -> None:
    """Close in good order; connections that are still at work after that are cut, and recovery's business."""
    try:
        async with asyncio.timeout(CONNECTIONS_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def ensure_partitions(pool: asyncpg.Pool, clock: Clock, settings: Settings) -> int:
    """Make the monthly partitions from last month on; returns how many were made."""
    today = business_date(clock.now(), settings.cut_over)
    first = today.replace(day=1)
    previous = (
        first.replace(year=first.year - 1, month=12) if first.month == 1 else first.replace(month=first.month - 1)
    )
    made: int = await pool.fetchval("select ensure_partitions($1, $2)", previous, PARTITION_MONTHS_AHEAD + 1)
    await pool.execute("select ensure_seal_indexes($1)", today)
    return made


@contextlib.asynccontextmanager
async def open_service(base: Base, directory: Directory | None = None) -> AsyncIterator[Service]:
    """Bring up bank links, engine and recovery; drain them at the end."""
    directory = (directory or bank_directory(base.settings)).shared_by(base.settings.workers)
    drain = Drain(base.clock, base.settings.drain_s)

    def heard(late: LateAnswer) -> None:
        if late.verb is Verb.DEBIT:
            engine.hear(late.identity, late.answer)

    zone_keys = derive_zone_keys(zone_master_key(base.keys), directory)
    links = BankLinks(directory, zone_keys, base.clock, base.ids, on_late=heard)
    ledger = Ledger(base.pool, batch_max=base.settings.batch_max)
    async with base.pool.acquire() as connection:
        weak = await durability_report(connection)
    engine = build_engine(base, ledger, directory, links, weak)
    interval_s = base.settings.seal_interval_s
    sealer = open_sealer(base) if interval_s else None
    await links.start()
    keepers = [asyncio.create_task(_keep_tidy(base), name="upkeep")]
    if sealer is not None:
        keepers.append(asyncio.create_task(keep_sealing(sealer, base.clock, interval_s), name="seals"))
    try:
        await engine.start()
        yield Service(base=base, engine=engine, ledger=ledger, directory=directory, links=links, drain=drain)
    finally:
        drain.begin()
        for keeper in keepers:
            keeper.cancel()
        left = await engine.drain(drain.left_s())
        if left:
            log.warning("left_to_recovery", sagas=left)
        await links.stop(LINKS_S)


def build_engine(
    base: Base, ledger: Ledger, directory: Directory, banks: BankPort, standing_troubles: Sequence[str] = ()
) -> SettlementEngine:
    """The engine over these partners. ``standing_troubles``: what /readyz shows for as long as the process lives."""
    settings = base.settings
    vault = Vault(base.personal)
    return SettlementEngine(
        EngineContext(
            ledger=ledger,
            cards=base.cards,
            vault=vault,
            directory=directory,
            bank_legs=BankLegs(
                ledger=ledger,
                banks=banks,
                directory=directory,
                vault=vault,
                clock=base.clock,
                cut_over=settings.cut_over,
            ),
            clock=base.clock,
            ids=base.ids,
            limits=EngineLimits(
                cut_over=settings.cut_over,
                quote_ttl_s=settings.quote_ttl_s,
                proof_max_age_s=settings.proof_max_age_s,
                claim_lease_ms=settings.claim_lease_ms,
                recovery_interval_ms=settings.recovery_interval_ms,
                in_doubt_alarm_s=settings.in_doubt_alarm_s,
                idempotency_retention_days=settings.idempotency_retention_days,
            ),
            stays=StayBook(base.pool),
            plans=plan_book(settings),
            catalog=functools.partial(items_until, base.pool),
            worker=f"{socket.gethostname()}:{os.getpid()}",
            quote_key=base.keys.derive("quote"),
            legacy_master_key=base.cards.legacy_master_key,
        ),
        standing_troubles,
    )


def open_sealer(base: Base) -> Sealer:
    """Who seals in this installation. Raises ``AuthorityError`` where the seal key is missing or open to others."""
    return Sealer(base.pool, load_seal_key(base.settings.pki_dir), base.clock)


async def _keep_tidy(base: Base) -> None:
    """Upkeep until cancelled: partitions ahead of time, idempotency keys forgotten when their time is over."""
    while True:
        try:
            await ensure_partitions(base.pool, base.clock, base.settings)
            await forget_expired_keys(base.pool, base.clock)
        except Exception:
            # The database may be away; the next round comes.
            log.exception("upkeep_failed")
        await base.clock.sleep(_UPKEEP_EVERY_S)


async def forget_expired_keys(pool: asyncpg.Pool, clock: Clock) -> int:
    """Forget idempotency keys whose time is over, in small steps; returns how many."""
    forgotten = 0
    while True:
        step: int = await pool.fetchval("select forget_expired_keys($1, $2)", clock.now(), _KEYS_A_STEP)
        forgotten += step
        if step < _KEYS_A_STEP:
            return forgotten
