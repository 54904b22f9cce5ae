"""A till, its card and the scripted service that it talks to."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terminal_sdk import Credentials, FeeLine, RetryPolicy, SyncTerminal, Terminal
from terminal_sdk.card import CardImage, CardSession, VirtualCard
from terminal_sdk.crypto import CertificateAuthority, Sm2PrivateKey
from terminal_sdk.reader import VirtualReader
from tests.support.scripted_service import TERMINAL_ID, VISIT_NO, ScriptedService, Steps

PAN = "6222020200112233445"
BEGIN = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
END = BEGIN + dt.timedelta(days=9000)


@pytest.fixture(scope="session")
def steps() -> type[Steps]:
    return Steps


@pytest.fixture(scope="session")
def terminal_ca() -> CertificateAuthority:
    return CertificateAuthority.create_root("Test terminal CA", BEGIN, END)


@pytest.fixture(scope="session")
def terminal_key() -> Sm2PrivateKey:
    return Sm2PrivateKey.generate()


@pytest.fixture(scope="session")
def card_image() -> CardImage:
    card_ca = CertificateAuthority.create_root("Test card CA", BEGIN, END)
    return CardImage.personalise(
        card_ca,
        card_number="A12345678",
        bank_code="ICBC",
        pan=PAN,
        issued_on=dt.date(2018, 12, 20),
        expires_on=dt.date(2028, 12, 19),
        social_security_number="310101195003074512",
        name="张建国",
        sex="1",
        birthplace="310101",
        birth_date=dt.date(1950, 3, 7),
    )


@pytest.fixture
def reader(card_image: CardImage) -> VirtualReader:
    return VirtualReader(VirtualCard(card_image))


@pytest.fixture
def card(reader: VirtualReader) -> Iterator[CardSession]:
    with CardSession(reader) as session:
        yield session


@pytest.fixture
async def peer(terminal_key: Sm2PrivateKey) -> AsyncIterator[ScriptedService]:
    service = ScriptedService(terminal_key)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
def away(terminal_key: Sm2PrivateKey) -> Iterator[ScriptedService]:
    """The scripted service on a loop in a thread of its own, for tills that block the test's."""
    service = ScriptedService(terminal_key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted-service")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result()
        yield service
        asyncio.run_coroutine_threadsafe(service.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


QUICK = RetryPolicy(
    patience_s=30, sends_max=4, rounds_max=2, backoff_first_s=0.001, backoff_max_s=0.01, answer_timeout_s=10
)


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "till.sqlite"


@pytest.fixture
def credentials(
    tmp_path: Path, terminal_ca: CertificateAuthority, terminal_key: Sm2PrivateKey, card_image: CardImage
) -> Credentials:
    root = terminal_ca.certificate
    own = Credentials(
        terminal_id=TERMINAL_ID,
        institution_id="H31010600001",
        key=terminal_key,
        certificate=terminal_ca.issue(TERMINAL_ID, terminal_key.public_key, root.not_before, root.not_after),
        authority=root,
    )
    own.save(tmp_path / "terminal.json")
    (tmp_path / "card.json").write_text(card_image.to_json(), encoding="utf-8")
    return own


MakeTerminal = Callable[..., Terminal]


def till_arguments(
    service: ScriptedService, own: Credentials, journal: Path, changes: dict[str, Any]
) -> dict[str, Any]:
    """What a till is made with; ``changes`` are those of ``RetryPolicy`` and of the till."""
    names = RetryPolicy.__dataclass_fields__
    policy = RetryPolicy(**{name: changes.pop(name, getattr(QUICK, name)) for name in names})
    given: dict[str, Any] = {
        "base_url": service.base_url,
        "terminal_id": own.terminal_id,
        "key": own.key,
        "certificate": own.certificate,
        "journal": journal,
        "policy": policy,
    }
    return given | changes


@pytest.fixture
def make_terminal(peer: ScriptedService, credentials: Credentials, journal_path: Path) -> MakeTerminal:
    def make(**changes: Any) -> Terminal:
        return Terminal(**till_arguments(peer, credentials, journal_path, changes))

    return make


MakeSyncTerminal = Callable[..., SyncTerminal]


@pytest.fixture
def make_sync_terminal(away: ScriptedService, credentials: Credentials, journal_path: Path) -> MakeSyncTerminal:
    def make(**changes: Any) -> SyncTerminal:
        return SyncTerminal(**till_arguments(away, credentials, journal_path, changes))

    return make


@pytest.fixture
async def terminal(make_terminal: MakeTerminal) -> AsyncIterator[Terminal]:
    async with make_terminal() as opened:
        yield opened


@pytest.fixture
def bill() -> dict[str, Any]:
    """The bill as keyword arguments; ``wait_ms`` 0 so that a time-out is the policy's alone."""
    return {
        "visit_no": VISIT_NO,
        "visit_type": "pharmacy",
        "service_date": dt.date(2019, 1, 2),
        "lines": [
            FeeLine(line_no=1, item_code="86900001", item_name="阿莫西林胶囊", category="A", amount_fen=3_000),
            FeeLine(line_no=2, item_code="86900002", item_name="感冒灵颗粒", category="B", amount_fen=2_000),
        ],
    }
