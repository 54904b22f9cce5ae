"""The service's side of a terminal's life: enrolment, sign-in (签到) and the authentication of its requests."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from settlement.clock import Clock, epoch_ms
from settlement.config import Settings
from settlement.db.outages import OUTAGES, not_ready
from settlement.errors import ServiceError
from settlement.ids import IdSource
from settlement.security import KeyRing
from settlement.terminals.administration import SQL, TerminalAdministration
from settlement.terminals.authentication import Authenticator
from settlement.terminals.model import TerminalIdentity, VerifiedRequest
from terminal_sdk import wire
from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    CertificateInvalid,
    CryptoError,
    SignatureInvalid,
    SigningRequest,
    backend,
    verify_chain,
)
from terminal_sdk.signing import sign_in_message

if TYPE_CHECKING:
    from asyncpg import Pool, Record

CERTIFICATE_LIFETIME = dt.timedelta(days=730)
CHALLENGE_LIFETIME = dt.timedelta(seconds=60)
SESSIONS_MAX = 16
"""Open sessions of one terminal; the oldest end first."""
PURGE_INTERVAL_S = 60
_PURGE_BATCH = 5_000
_CLOCKS_APART = dt.timedelta(minutes=5)
"""A new certificate is valid from a little earlier, for terminals whose clock is behind."""
_SIGN_IN_REFUSALS = {
    "certificate_unknown": "TERMINAL_CERTIFICATE_UNKNOWN",
    "certificate_expired": "TERMINAL_CERTIFICATE_EXPIRED",
    "terminal_suspended": "TERMINAL_SUSPENDED",
    "institution_suspended": "INSTITUTION_SUSPENDED",
}

T = TypeVar("T")


class TerminalRegistry(TerminalAdministration):
    """Terminals as the running service needs them, with the operator's orders inherited.

    ``terminal_ca`` issues the terminals' certificates. Of ``settings``: ``clock_skew_s`` and ``session_hours``.
    What terminals call raises ``ServiceError`` only, NOT_READY while the database is away.
    """

    def __init__(
        self,
        pool: Pool[Record],
        keys: KeyRing,
        clock: Clock,
        ids: IdSource,
        terminal_ca: CertificateAuthority,
        settings: Settings,
    ) -> None:
        super().__init__(pool, keys, clock, ids)
        self._ca = terminal_ca
        self._session_lifetime = dt.timedelta(hours=settings.session_hours)
        self._authenticator = Authenticator(pool, self._secrets, clock, ids, skew_s=settings.clock_skew_s)

    # enrolment

    async def enrol(self, request: wire.EnrolRequest) -> wire.Enrolment:
        """Issue a certificate for a certificate request with a right one-time code, which is used up.

        Raises ``ServiceError`` ENROLMENT_REFUSED (code wrong, used, expired, tried too often, or terminal unknown: the
        answer does not say which), CSR_INVALID, TERMINAL_SUSPENDED, INSTITUTION_SUSPENDED.
        """
        now = self._clock.now()
        digest = self._secrets.enrolment_digest(request.terminal_id, request.enrolment_code)
        row = await self._row("take_enrolment_try", request.terminal_id, now)
        if row is None or not hmac.compare_digest(row["digest"], digest):
            raise ServiceError("ENROLMENT_REFUSED")
        if row["terminal_state"] == "suspended":
            raise ServiceError("TERMINAL_SUSPENDED")
        if row["institution_state"] == "suspended":
            raise ServiceError("INSTITUTION_SUSPENDED")
        certificate = await _computed(lambda: self._issue(request, now))
        enrolled = await self._row(
            "enrol_terminal",
            request.terminal_id,
            digest,
            certificate.der,
            certificate.fingerprint,
            certificate.not_after,
            now,
        )
        if enrolled is None or not enrolled[0]:
            raise ServiceError("ENROLMENT_REFUSED")
        return wire.Enrolment(
            terminal_id=request.terminal_id,
            institution_id=row["institution_id"],
            certificate_pem=certificate.pem(),
            ca_pem=self._ca.certificate.pem(),
        )

    def _issue(self, request: wire.EnrolRequest, now: dt.datetime) -> Certificate:
        try:
            signing_request = SigningRequest.from_pem(request.csr_pem)
            signing_request.verify()
        except (CryptoError, ValueError) as error:
            raise ServiceError("CSR_INVALID", field="csr_pem") from error
        if signing_request.common_name != request.terminal_id:
            raise ServiceError("CSR_INVALID", "The certificate request must name the terminal id.", field="csr_pem")
        authority = self._ca.certificate
        return self._ca.issue(
            request.terminal_id,
            signing_request.public_key,
            max(now - _CLOCKS_APART, authority.not_before),
            min(now + CERTIFICATE_LIFETIME, authority.not_after),
        )

    # sign-in

    def challenge(self, request: wire.ChallengeRequest) -> wire.Challenge:
        """A challenge to sign, bound to the terminal and short-lived. Nothing is kept, so that asking costs nothing."""
        expires_at = self._clock.now() + CHALLENGE_LIFETIME
        return wire.Challenge(
            challenge=self._secrets.make_challenge(request.terminal_id, expires_at), expires_at=expires_at
        )

    async def sign_in(self, request: wire.SignInRequest) -> wire.Session:
        """Open a session for a terminal that signed its challenge; its working keys are sealed to the terminal's key.

        The same sign-in sent twice gives the same session. A session ends with the certificate at the latest.
        Raises ``ServiceError`` CHALLENGE_INVALID, TERMINAL_UNKNOWN, TERMINAL_CERTIFICATE_UNKNOWN, SIGNATURE_INVALID,
        TERMINAL_CERTIFICATE_EXPIRED, TERMINAL_SUSPENDED, INSTITUTION_SUSPENDED.
        """
        now = self._clock.now()
        if not self._secrets.check_challenge(request.challenge, request.terminal_id, now):
            raise ServiceError("CHALLENGE_INVALID")
        row = await self._row("terminal_certificate", request.terminal_id)
        if row is None:
            raise ServiceError("TERMINAL_UNKNOWN")
        if not hmac.compare_digest(row["certificate_fingerprint"], request.certificate_fingerprint):
            raise ServiceError("TERMINAL_CERTIFICATE_UNKNOWN")
        certificate = await _computed(lambda: self._proved(row["certificate_der"], request, now))
        session_id = self._secrets.session_id(request.challenge)
        opened = await self._row(
            "open_session",
            request.terminal_id,
            request.certificate_fingerprint,
            session_id,
            now,
            now + self._session_lifetime,
            SESSIONS_MAX,
        )
        assert opened is not None  # noqa: S101  # the function gives exactly one row
        if opened["verdict"] != "opened":
            raise ServiceError(_SIGN_IN_REFUSALS[opened["verdict"]])
        keys = self._secrets.working_keys(session_id)
        sealed = await _computed(lambda: certificate.public_key.encrypt(keys.mac_key + keys.pin_key))
        return wire.Session(
            session_id=str(session_id),
            terminal_id=request.terminal_id,
            institution_id=opened["institution_id"],
            sealed_keys=sealed.hex(),
            expires_at=opened["expires_at"],
            server_time_ms=epoch_ms(self._clock.now()),
        )

    def _proved(self, certificate_der: bytes, request: wire.SignInRequest, now: dt.datetime) -> Certificate:
        """The terminal's certificate, if it signed the challenge and our authority still vouches for it."""
        certificate = Certificate.from_der(certificate_der)
        try:
            certificate.public_key.verify(
                sign_in_message(request.terminal_id, request.challenge), bytes.fromhex(request.signature)
            )
        except SignatureInvalid as error:
            raise ServiceError("SIGNATURE_INVALID") from error
        if now >= certificate.not_after:
            raise ServiceError("TERMINAL_CERTIFICATE_EXPIRED")
        try:
            verify_chain(certificate, roots=[self._ca.certificate], at=now)
        except CertificateInvalid as error:
            raise ServiceError("TERMINAL_CERTIFICATE_UNKNOWN") from error
        if certificate.subject != request.terminal_id:
            raise ServiceError("TERMINAL_CERTIFICATE_UNKNOWN")
        return certificate

    # requests

    def verify(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes) -> VerifiedRequest:
        """The first half of ``authenticate``: the MAC. Asks nobody. Raises SESSION_MISSING, MAC_INVALID."""
        return self._authenticator.verify(method, path_qs, headers, body)

    async def admit(self, request: VerifiedRequest) -> TerminalIdentity:
        """The second half of ``authenticate``: time, session, suspension, nonce, in one round trip."""
        return await self._authenticator.admit(request)

    async def authenticate(
        self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes
    ) -> TerminalIdentity:
        """Who sent a request. ``path_qs`` exactly as it came; ``headers`` looked up without regard to case.

        Raises ``ServiceError`` with any code of ``verify`` and ``admit``.
        """
        return await self.admit(self.verify(method, path_qs, headers, body))

    # upkeep

    async def purge(self) -> int:
        """Forget expired nonces and sessions; returns how many."""
        purged = 0
        while True:
            count: int = await self._pool.fetchval(SQL["purge_admissions"], self._clock.now(), _PURGE_BATCH)
            purged += count
            if count < _PURGE_BATCH:
                return purged

    async def keep_tidy(self, report: Callable[[Exception], None]) -> None:
        """Purge every minute until cancelled; a failure is reported and tried again a minute later."""
        while True:
            await self._clock.sleep(PURGE_INTERVAL_S)
            try:
                await self.purge()
            except Exception as error:  # upkeep must outlive any failure of the database
                report(error)

    async def _row(self, name: str, *parameters: object) -> Record | None:
        try:
            return await self._pool.fetchrow(SQL[name], *parameters)
        except OUTAGES as error:
            raise ServiceError("NOT_READY", not_ready(error), retry_after_ms=1_000) from error


async def _computed(work: Callable[[], T]) -> T:
    """Run SM2 arithmetic: on a thread where the backend lets other threads run meanwhile, else here."""
    if backend().releases_gil:
        return await asyncio.to_thread(work)
    return work()
