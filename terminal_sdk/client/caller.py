"""One authenticated call: sign it, send it once, and believe only an answer whose MAC is right."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

import msgspec

from terminal_sdk import wire
from terminal_sdk.client.retry import Tries
from terminal_sdk.client.session import Sessions, WorkingSession, error_detail, is_refusal
from terminal_sdk.client.transport import NoAnswer, RawAnswer, Transport
from terminal_sdk.clock import epoch_ms
from terminal_sdk.errors import RequestRefused, ServiceUnreachable
from terminal_sdk.signing import (
    MAC_HEADER,
    NONCE_HEADER,
    SESSION_HEADER,
    TIME_HEADER,
    request_mac,
    response_mac,
)

_NONCE_BYTES = 16
_ANSWERED = (200, 202)
_REFUSED_EARLY = (429, 503)
_RENEW_SESSION = frozenset({"SESSION_EXPIRED", "SESSION_MISSING", "MAC_INVALID", "CLOCK_SKEW"})

T = TypeVar("T")
BodyFor = Callable[[WorkingSession], Awaitable[bytes]]


class Caller:
    """Sends requests under the current session. ``once`` sends exactly once; ``ask`` repeats what changes nothing."""

    def __init__(self, transport: Transport, sessions: Sessions) -> None:
        self._transport = transport
        self._sessions = sessions

    async def once(self, method: str, path_qs: str, answer_type: type[T], body_for: BodyFor, timeout_s: float) -> T:
        """Send once. Raises ``NoAnswer`` for anything inconclusive, ``RequestRefused`` for a proven refusal.

        Raises ``SignInRefused`` and ``AnswerInvalid`` when no session can be had; then nothing was sent.
        """
        session = await self._sessions.current()
        body = await body_for(session)
        nonce = secrets.token_hex(_NONCE_BYTES)
        time_ms = epoch_ms(self._sessions.service_time(session))
        headers = {
            SESSION_HEADER: session.session_id,
            TIME_HEADER: str(time_ms),
            NONCE_HEADER: nonce,
            MAC_HEADER: request_mac(session.mac_key, method, path_qs, time_ms, nonce, body),
        }
        raw = await self._transport.exchange(method, path_qs, headers, body, timeout_s)
        expected = response_mac(session.mac_key, raw.status, nonce, raw.body)
        proven = raw.mac is not None and hmac.compare_digest(raw.mac.encode(), expected.encode())
        if raw.status in _ANSWERED and proven:
            return _decoded(raw.body, answer_type)
        raise self._refusal(raw, session, proven=proven)

    async def ask(
        self, method: str, path_qs: str, answer_type: type[T], tries: Tries, request: msgspec.Struct | None = None
    ) -> T:
        """A call that changes nothing, repeated within ``tries``. Raises ``RequestRefused``, ``ServiceUnreachable``."""
        body = b"" if request is None else wire.encode(request)

        async def body_for(_: WorkingSession) -> bytes:
            return body

        while True:
            try:
                return await self.once(method, path_qs, answer_type, body_for, tries.timeout_s())
            except NoAnswer as failure:
                if not await tries.again(failure):
                    raise ServiceUnreachable(failure.reason) from failure

    def _refusal(self, raw: RawAnswer, session: WorkingSession, *, proven: bool) -> NoAnswer | RequestRefused:
        """What an answer that is not a result means; discards the session where that is the reason."""
        detail = error_detail(raw.body)
        code = detail.code if detail else None
        if raw.status == HTTPStatus.UNAUTHORIZED and code in _RENEW_SESSION:
            # The service cannot always prove such an answer (it may not know the key); nothing is concluded from it.
            self._sessions.discard(session)
            return NoAnswer(str(code), perhaps_processed=not proven, session_code=code)
        early = proven and raw.status in _REFUSED_EARLY
        refused = is_refusal(raw.status) and code != "NONCE_REPLAYED"  # that one: a copy of it was taken
        if refused and proven and detail is not None:
            return RequestRefused(raw.status, detail)
        unproven = "" if proven else "unproven "
        reason = f"{unproven}status {raw.status}{f' {code}' if code else ''}"
        return NoAnswer(
            reason,
            perhaps_processed=not early,
            retry_after_s=_retry_after_s(raw, detail),
            put_off=detail if early else None,
            code=code if proven else None,
        )


def _retry_after_s(raw: RawAnswer, detail: wire.ErrorDetail | None) -> float | None:
    if detail is not None and detail.retry_after_ms is not None:
        return max(0, detail.retry_after_ms) / 1000
    return raw.retry_after_s


def _decoded(body: bytes, answer_type: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=answer_type)
    except msgspec.DecodeError as error:
        raise NoAnswer("unreadable answer", perhaps_processed=True) from error
