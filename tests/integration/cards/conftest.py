"""A registry over a real database, and people with cards in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest

from settlement.cards.issuing import issue_virtual
from settlement.cards.model import Function
from settlement.cards.registry import CardRegistry
from settlement.clock import SystemClock
from settlement.config import Settings
from settlement.db.pool import create_pool
from settlement.security import KeyRing, Personal
from terminal_sdk.card import CardImage
from terminal_sdk.crypto import CertificateAuthority
from tests.support.cards import MASTER_KEY, Issue, Pool, SetClock
from tests.support.database import TestDatabases


@pytest.fixture(scope="session")
async def registry_dsn(database: TestDatabases) -> AsyncIterator[str]:
    """One database for all these tests: each makes people of its own."""
    dsn = await database.create()
    yield dsn
    await database.drop(dsn)


@pytest.fixture(scope="session")
async def pool(registry_dsn: str) -> AsyncIterator[Pool]:
    pool = await create_pool(Settings(database_url=registry_dsn, db_pool_min=0, db_pool_max=12))
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    return KeyRing(MASTER_KEY)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(SystemClock().now())


@pytest.fixture(scope="session")
def card_ca() -> CertificateAuthority:
    now = SystemClock().now()
    return CertificateAuthority.create_root("Card CA", now - dt.timedelta(days=400), now + dt.timedelta(days=9000))


@pytest.fixture
def registry(pool: Pool, keys: KeyRing, clock: SetClock, card_ca: CertificateAuthority) -> CardRegistry:
    return CardRegistry(pool, Personal(keys), keys, clock, [card_ca.certificate])


@pytest.fixture
def issue(registry: CardRegistry, card_ca: CertificateAuthority, keys: KeyRing) -> Issue:
    """``await issue(id_number, activate=…, legacy=…)``: a new card of a person, third-generation at ICBC by default."""

    async def make(
        id_number: str, *, name: str = "张建国", legacy: bool = False, activate: Function | None = None
    ) -> CardImage:
        return await issue_virtual(
            registry,
            card_ca,
            keys,
            name=name,
            id_number=id_number,
            kind="legacy" if legacy else "third_generation",
            bank_code=None if legacy else "ICBC",
            activate=activate,
        )

    return make
