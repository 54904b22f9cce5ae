"""Signing in (签到) by itself: the day's session with its working keys and the service's time."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import msgspec

from terminal_sdk import wire
from terminal_sdk.client.transport import NoAnswer, Transport
from terminal_sdk.clock import Clock, epoch_ms
from terminal_sdk.crypto import Certificate, CryptoError, Sm2PrivateKey
from terminal_sdk.errors import AnswerInvalid, RequestRefused, SignInRefused
from terminal_sdk.signing import sign_in_message

_MAC_KEY_BYTES = 32
_PIN_KEY_BYTES = 16
_RENEW_BEFORE = dt.timedelta(seconds=30)
_OK = (200, 201)
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingSession:
    """A session as the client uses it. ``offset_ms``: what to add to the till's clock to get the service's time."""

    session_id: str
    institution_id: str
    mac_key: bytes = field(repr=False)
    pin_key: bytes = field(repr=False)
    expires_at: dt.datetime
    offset_ms: int


class Sessions:
    """Holds the current session and makes a new one when it is over; at most one sign-in runs at a time."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        terminal_id: str,
        key: Sm2PrivateKey,
        certificate: Certificate,
        timeout_s: float,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._terminal_id = terminal_id
        self._key = key
        self._certificate = certificate
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._session: WorkingSession | None = None

    async def current(self) -> WorkingSession:
        """The session to use now. Raises ``SignInRefused``, ``AnswerInvalid``; ``NoAnswer`` (may be tried again)."""
        async with self._lock:
            if self._session is None or self.service_time(self._session) >= self._session.expires_at - _RENEW_BEFORE:
                self._session = await self._sign_in()
            return self._session

    def discard(self, session: WorkingSession) -> None:
        """The service no longer takes this session; a newer one that another call made meanwhile stays."""
        if self._session is session:
            self._session = None

    def service_time(self, session: WorkingSession) -> dt.datetime:
        """The present moment by the service's clock."""
        return self._clock.now() + dt.timedelta(milliseconds=session.offset_ms)

    async def _sign_in(self) -> WorkingSession:
        challenge = await self._post(
            "/v1/sessions/challenge", wire.ChallengeRequest(terminal_id=self._terminal_id), wire.Challenge
        )
        signature = self._key.sign(sign_in_message(self._terminal_id, challenge.challenge))
        request = wire.SignInRequest(
            terminal_id=self._terminal_id,
            challenge=challenge.challenge,
            certificate_fingerprint=self._certificate.fingerprint,
            signature=signature.hex(),
        )
        before_ms = epoch_ms(self._clock.now())
        session = await self._post("/v1/sessions", request, wire.Session)
        after_ms = epoch_ms(self._clock.now())
        mac_key, pin_key = self._unseal(session)
        return WorkingSession(
            session_id=session.session_id,
            institution_id=session.institution_id,
            mac_key=mac_key,
            pin_key=pin_key,
            expires_at=session.expires_at,
            offset_ms=session.server_time_ms - (before_ms + after_ms) // 2,
        )

    async def _post(self, path: str, request: msgspec.Struct, answer_type: type[T]) -> T:
        try:
            return await plain_post(self._transport, path, request, answer_type, self._timeout_s)
        except RequestRefused as refusal:
            if refusal.code == "CHALLENGE_INVALID":  # it grew too old on the way; the next try asks for a new one
                raise NoAnswer("CHALLENGE_INVALID", perhaps_processed=False) from refusal
            raise SignInRefused(refusal.status, refusal.detail) from refusal
        except NoAnswer as failure:
            # Only the sign-in is unanswered: the request that waits for it has not been sent.
            raise NoAnswer(
                f"sign-in: {failure.reason}", perhaps_processed=False, retry_after_s=failure.retry_after_s
            ) from failure

    def _unseal(self, session: wire.Session) -> tuple[bytes, bytes]:
        if session.terminal_id != self._terminal_id or session.expires_at.tzinfo is None:
            raise AnswerInvalid("the sign-in was answered for another terminal")
        try:
            keys = self._key.decrypt(bytes.fromhex(session.sealed_keys))
        except (CryptoError, ValueError) as error:
            raise AnswerInvalid("the working keys were not sealed for this terminal's key") from error
        if len(keys) != _MAC_KEY_BYTES + _PIN_KEY_BYTES:
            raise AnswerInvalid("the working keys have the wrong length")
        return keys[:_MAC_KEY_BYTES], keys[_MAC_KEY_BYTES:]


async def plain_post(
    transport: Transport, path: str, request: msgspec.Struct, answer_type: type[T], timeout_s: float
) -> T:
    """A request before there is a session: without MAC. Raises ``RequestRefused``, ``AnswerInvalid``, ``NoAnswer``."""
    raw = await transport.exchange("POST", path, {}, wire.encode(request), timeout_s)
    if raw.status in _OK:
        try:
            return msgspec.json.decode(raw.body, type=answer_type)
        except msgspec.DecodeError as error:
            raise AnswerInvalid(f"{path} was answered with something else") from error
    detail = error_detail(raw.body)
    if is_refusal(raw.status) and detail is not None:
        raise RequestRefused(raw.status, detail)
    raise NoAnswer(f"status {raw.status}", perhaps_processed=True, retry_after_s=raw.retry_after_s)


def is_refusal(status: int) -> bool:
    """Whether a status refuses the request itself; 408, 425 and 429 only put it off."""
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PASSING


def error_detail(body: bytes) -> wire.ErrorDetail | None:
    """The refusal in an answer, or None if the body is something else (a proxy's page, say)."""
    try:
        return msgspec.json.decode(body, type=wire.ErrorBody).error
    except msgspec.DecodeError:
        return None
