"""Everything a terminal's trust rests on that is derived, not stored: working keys, challenges, enrolment codes."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import uuid
from collections.abc import Callable

from settlement.clock import epoch_ms
from settlement.ids import uuid7
from settlement.security import KeyRing
from settlement.terminals.model import MAC_KEY_BYTES, PIN_KEY_BYTES, WorkingKeys
from terminal_sdk.crypto import derive_key, hmac_sm3

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, which people misread."""
_MISREAD = str.maketrans("ILO", "110")
_CODE_CHARACTERS = 20
_CODE_GROUP = 5
_TIME_BYTES = 8
_RANDOM_BYTES = 16
_TAG_BYTES = 32


class TerminalSecrets:
    """Keys and codes of terminals, from the key ring. ``token``: where random bytes come from (``IdSource.token``)."""

    def __init__(self, keys: KeyRing, token: Callable[[int], bytes]) -> None:
        self._token = token
        self._session_key = keys.derive("terminal/session")
        self._challenge_key = keys.derive("terminal/challenge")
        self._enrolment_key = keys.derive("terminal/enrolment")

    # working keys

    def working_keys(self, session_id: uuid.UUID) -> WorkingKeys:
        """The keys of a session; the same id always gives the same keys, and no table holds them."""
        material = derive_key(self._session_key, f"working-keys/{session_id}", MAC_KEY_BYTES + PIN_KEY_BYTES)
        return WorkingKeys(mac_key=material[:MAC_KEY_BYTES], pin_key=material[MAC_KEY_BYTES:])

    # sign-in challenges

    def make_challenge(self, terminal_id: str, expires_at: dt.datetime) -> str:
        """A challenge for one terminal until a moment: expiry, randomness and their HMAC-SM3; kept nowhere."""
        head = epoch_ms(expires_at).to_bytes(_TIME_BYTES, "big") + self._token(_RANDOM_BYTES)
        return base64.urlsafe_b64encode(head + self._challenge_tag(terminal_id, head)).rstrip(b"=").decode()

    def check_challenge(self, challenge: str, terminal_id: str, now: dt.datetime) -> bool:
        """Was this challenge made here, for this terminal, and is it not too old?"""
        raw = _unpadded(challenge)
        if raw is None or len(raw) != _TIME_BYTES + _RANDOM_BYTES + _TAG_BYTES:
            return False
        head, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._challenge_tag(terminal_id, head)):
            return False
        return int.from_bytes(head[:_TIME_BYTES], "big") > epoch_ms(now)

    def session_id(self, challenge: str) -> uuid.UUID:
        """The session that a (checked) challenge leads to: a sign-in sent twice opens one session, not two."""
        raw = _unpadded(challenge) or b""
        random = hmac_sm3(self._challenge_key, b"session\n" + raw)
        return uuid7(int.from_bytes(raw[:_TIME_BYTES], "big"), random)

    def _challenge_tag(self, terminal_id: str, head: bytes) -> bytes:
        return hmac_sm3(self._challenge_key, b"challenge\n" + terminal_id.encode() + b"\n" + head)

    # enrolment codes

    def new_enrolment_code(self) -> str:
        """A code of 100 random bits in four groups, made to be read aloud and typed."""
        digits = [_ALPHABET[byte % len(_ALPHABET)] for byte in self._token(_CODE_CHARACTERS)]
        groups = ["".join(digits[i : i + _CODE_GROUP]) for i in range(0, _CODE_CHARACTERS, _CODE_GROUP)]
        return "-".join(groups)

    def enrolment_digest(self, terminal_id: str, code: str) -> bytes:
        """The keyed digest under which a code is kept. Case, blanks, hyphens and misread letters do not matter."""
        plain = "".join(code.split()).replace("-", "").upper().translate(_MISREAD)
        return hmac_sm3(self._enrolment_key, f"{terminal_id}\n{plain}".encode())


def _unpadded(text: str) -> bytes | None:
    """The bytes of base64url text without padding; None for anything that is not exactly what we write."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None
