"""Who sent a request: its MAC first, without the database; then session, suspension and nonce in one round trip."""

from __future__ import annotations

import datetime as dt
import hmac
import re
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from settlement.clock import Clock, epoch_ms
from settlement.db.batcher import Batcher
from settlement.db.outages import OUTAGES, not_ready
from settlement.errors import ServiceError
from settlement.ids import IdSource
from settlement.terminals.administration import SQL
from settlement.terminals.derivation import TerminalSecrets
from settlement.terminals.model import TerminalIdentity, VerifiedRequest, WorkingKeys
from terminal_sdk.signing import MAC_HEADER, NONCE_HEADER, SESSION_HEADER, TIME_HEADER, request_mac

if TYPE_CHECKING:
    from asyncpg import Pool, Record

REFUSALS = {
    "no_session": "SESSION_EXPIRED",
    "terminal_suspended": "TERMINAL_SUSPENDED",
    "institution_suspended": "INSTITUTION_SUSPENDED",
    "replayed": "NONCE_REPLAYED",
}
_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"[0-9]{13}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_MAC = re.compile(r"[0-9a-f]{64}")
_FORMS = {SESSION_HEADER: _SESSION, TIME_HEADER: _TIME, NONCE_HEADER: _NONCE}
_REMEMBERED_MAX = 20_000
_CLOCKS_APART = dt.timedelta(seconds=60)
"""How much longer than needed a nonce is remembered: hosts of this service need not agree to the second."""


@dataclass(frozen=True, slots=True)
class _Admission:
    request: VerifiedRequest
    admission: uuid.UUID
    now: dt.datetime
    nonce_expires_at: dt.datetime


class Authenticator:
    """Authenticates requests under a session. ``skew_s``: how far a terminal's clock may be off, in seconds."""

    def __init__(
        self, pool: Pool[Record], secrets: TerminalSecrets, clock: Clock, ids: IdSource, *, skew_s: int
    ) -> None:
        self._pool = pool
        self._secrets = secrets
        self._clock = clock
        self._ids = ids
        self._skew = dt.timedelta(seconds=skew_s)
        self._admissions: Batcher[_Admission, Record] = Batcher(self._admit_batch, batch_max=128)
        # What can be remembered without asking again: keys, and which terminal a session belongs to, never change.
        self._remembered: OrderedDict[uuid.UUID, tuple[WorkingKeys, str]] = OrderedDict()

    def verify(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes) -> VerifiedRequest:
        """Check the MAC over method, path with query (as sent), time, nonce and body; asks nobody.

        Raises ``ServiceError`` SESSION_MISSING (a header is missing or malformed; ``field`` names it) or MAC_INVALID.
        """
        values = {name: headers.get(name) for name in (*_FORMS, MAC_HEADER)}
        for name, value in values.items():
            if value is None or (name in _FORMS and not _FORMS[name].fullmatch(value)):
                raise ServiceError("SESSION_MISSING", field=name)
        session_text, time_text, nonce, mac = (str(value) for value in values.values())
        session_id = uuid.UUID(session_text)
        keys, terminal_id = self._remembered.get(session_id) or (self._secrets.working_keys(session_id), None)
        try:
            expected = request_mac(keys.mac_key, method, path_qs, int(time_text), nonce, body)
        except UnicodeEncodeError:  # a path of bytes that are no UTF-8: nobody can have signed it
            raise ServiceError("MAC_INVALID") from None
        if not _MAC.fullmatch(mac) or not hmac.compare_digest(mac, expected):
            raise ServiceError("MAC_INVALID")
        return VerifiedRequest(
            session_id=session_id, nonce=nonce, time_ms=int(time_text), keys=keys, terminal_id=terminal_id
        )

    async def admit(self, request: VerifiedRequest) -> TerminalIdentity:
        """Judge time, session, suspension and nonce of a verified request; from here on its nonce is used.

        Raises ``ServiceError`` CLOCK_SKEW, SESSION_EXPIRED, TERMINAL_SUSPENDED, INSTITUTION_SUSPENDED, NONCE_REPLAYED,
        and, with nothing changed, OVERLOADED or NOT_READY.
        """
        now = self._clock.now()
        if abs(epoch_ms(now) - request.time_ms) > self._skew // dt.timedelta(milliseconds=1):
            raise ServiceError("CLOCK_SKEW")
        sent_at = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=request.time_ms)
        asked = _Admission(request, self._ids.uuid(), now, sent_at + self._skew + _CLOCKS_APART)
        try:
            row = await self._admissions.submit(asked)
        except OUTAGES as error:
            raise ServiceError("NOT_READY", not_ready(error), retry_after_ms=1_000) from error
        if row["verdict"] != "admitted":
            raise ServiceError(REFUSALS[row["verdict"]])
        self._remember(request.session_id, request.keys, row["terminal_id"])
        return TerminalIdentity(
            terminal_id=row["terminal_id"],
            institution_id=row["institution_id"],
            institution_name=row["institution_name"],
            institution_kind=row["institution_kind"],
            institution_level=row["institution_level"],
            session_id=request.session_id,
            mac_key=request.keys.mac_key,
            pin_key=request.keys.pin_key,
        )

    async def _admit_batch(self, items: Sequence[_Admission]) -> list[Record]:
        return await self._pool.fetch(
            SQL["admit_requests"],
            [item.request.session_id for item in items],
            [item.request.nonce for item in items],
            [item.admission for item in items],
            [item.nonce_expires_at for item in items],
            max(item.now for item in items),
        )

    def _remember(self, session_id: uuid.UUID, keys: WorkingKeys, terminal_id: str) -> None:
        """Only sessions that the database has confirmed are kept, so that made-up ones cannot crowd them out."""
        self._remembered[session_id] = (keys, terminal_id)
        self._remembered.move_to_end(session_id)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)
