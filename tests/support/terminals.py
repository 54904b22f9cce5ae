"""Terminals for tests: a registry over a real database, terminals that enrol and sign, and a clock that is set."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

import asyncpg

from settlement.clock import SystemClock, epoch_ms
from settlement.config import Settings
from settlement.ids import SystemIds
from settlement.security import KeyRing
from settlement.terminals import TerminalRegistry
from terminal_sdk import wire
from terminal_sdk.crypto import Certificate, CertificateAuthority, SigningRequest, Sm2PrivateKey
from terminal_sdk.signing import (
    MAC_HEADER,
    NONCE_HEADER,
    SESSION_HEADER,
    TIME_HEADER,
    request_mac,
    sign_in_message,
)

HOSPITAL = "H31010100001"
PHARMACY = "P31010100002"
START = dt.datetime(2019, 1, 2, 1, 30, tzinfo=dt.UTC)


class MovedClock(SystemClock):
    """A clock that stands where it is put; only sleeping takes real time."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> dt.datetime:
        return self.moment

    def move(self, **delta: float) -> None:
        """Move it, as with ``dt.timedelta(**delta)``."""
        self.moment += dt.timedelta(**delta)


@dataclass
class SignedIn:
    """A terminal's session, as the terminal sees it."""

    terminal_id: str
    session: wire.Session
    mac_key: bytes
    pin_key: bytes
    clock: MovedClock

    def headers(self, method: str, path_qs: str, body: bytes = b"", **changes: str) -> dict[str, str]:
        """The four headers of a request. ``changes``: session, time, nonce or mac put in after signing would be;
        ``signed_time`` and ``signed_nonce`` are signed as well.
        """
        time_ms = int(changes.get("signed_time", epoch_ms(self.clock.now())))
        nonce = changes.get("signed_nonce", uuid.uuid4().hex)
        return {
            SESSION_HEADER: changes.get("session", self.session.session_id),
            TIME_HEADER: changes.get("time", str(time_ms)),
            NONCE_HEADER: changes.get("nonce", nonce),
            MAC_HEADER: changes.get("mac", request_mac(self.mac_key, method, path_qs, time_ms, nonce, body)),
        }


@dataclass
class Till:
    """An enrolled terminal with its key."""

    terminal_id: str
    key: Sm2PrivateKey
    certificate: Certificate
    world: TerminalWorld

    def sign_in_request(self, challenge: str, **changes: str) -> wire.SignInRequest:
        signed = changes.get("terminal_id", self.terminal_id)
        return wire.SignInRequest(
            terminal_id=signed,
            challenge=challenge,
            certificate_fingerprint=changes.get("fingerprint", self.certificate.fingerprint),
            signature=changes.get("signature", self.key.sign(sign_in_message(signed, challenge)).hex()),
        )

    async def sign_in(self) -> SignedIn:
        registry = self.world.registry
        challenge = registry.challenge(wire.ChallengeRequest(terminal_id=self.terminal_id)).challenge
        return self.open(await registry.sign_in(self.sign_in_request(challenge)))

    def open(self, session: wire.Session) -> SignedIn:
        keys = self.key.decrypt(bytes.fromhex(session.sealed_keys))
        return SignedIn(self.terminal_id, session, keys[:32], keys[32:], self.world.clock)


class TerminalWorld:
    """A registry with a hospital and a pharmacy, over a migrated database."""

    def __init__(self, pool: asyncpg.Pool, settings: Settings) -> None:
        self.pool = pool
        self.clock = MovedClock()
        self.keys = KeyRing(b"\x11" * 32)
        self.settings = settings
        self.authority = CertificateAuthority.create_root(
            "Terminal CA", START - dt.timedelta(days=1), START + dt.timedelta(days=3650)
        )
        self.registry = self.new_registry()

    def new_registry(self) -> TerminalRegistry:
        """Another process of the same service."""
        ids = SystemIds(self.clock)
        return TerminalRegistry(self.pool, self.keys, self.clock, ids, self.authority, self.settings)

    async def prepare(self) -> None:
        """Empty the tables of terminals, then register the two institutions."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("alter table terminal_event disable trigger user")
            for table in ("terminal_event", "request_nonce", "terminal_session", "terminal", "institution"):
                await connection.execute(f"delete from {table}")  # noqa: S608  # our own names
            await connection.execute("alter table terminal_event enable trigger user")
        await self.registry.add_institution(HOSPITAL, "示范医院", "hospital", 3)
        await self.registry.add_institution(PHARMACY, "示范药房", "pharmacy", 1)

    async def till(self, terminal_id: str = "TILL0001", institution_id: str = HOSPITAL) -> Till:
        """A terminal, registered and enrolled."""
        issued = await self.registry.register(terminal_id, institution_id)
        key = Sm2PrivateKey.generate()
        enrolment = await self.registry.enrol(enrol_request(terminal_id, issued.code, key))
        return Till(terminal_id, key, Certificate.from_pem(enrolment.certificate_pem), self)

    async def books(self) -> dict[str, int]:
        """How many rows each table of terminals has."""
        tables = ("terminal_session", "request_nonce", "terminal_event")
        return {table: await self.pool.fetchval(f"select count(*) from {table}") for table in tables}  # noqa: S608


def settings_for(dsn: str) -> Settings:
    """Settings for one test: the database, and few connections."""
    return Settings(database_url=dsn, db_pool_min=1, db_pool_max=6)


def enrol_request(
    terminal_id: str, code: str, key: Sm2PrivateKey, *, common_name: str | None = None
) -> wire.EnrolRequest:
    """What a new terminal sends."""
    request = SigningRequest.create(key, common_name or terminal_id)
    return wire.EnrolRequest(terminal_id=terminal_id, enrolment_code=code, csr_pem=request.pem())
