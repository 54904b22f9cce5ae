"""Personal data at rest: SM4-GCM under a key of the key ring, bound to its place, and found by a keyed blind index."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable

from settlement.security.keyring import KeyRing
from terminal_sdk.crypto import DecryptionFailed, hmac_sm3, sm4_gcm_decrypt, sm4_gcm_encrypt

_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 16
_VERSION_MAX = 0xFF


class PersonalDataError(Exception):
    """An encrypted value cannot be read: changed, moved to another place, or from another master key."""


class Personal:
    """Encrypts, decrypts and indexes personal data.

    A value is ``key version (1 byte) ‖ nonce (12) ‖ ciphertext ‖ tag (16)``. ``version``: the key that new values are
    written with; older versions are still read. ``token``: the source of nonces (``IdSource.token``).
    """

    def __init__(self, keys: KeyRing, *, version: int = 1, token: Callable[[int], bytes] = secrets.token_bytes) -> None:
        if not 1 <= version <= _VERSION_MAX:
            raise ValueError(f"a key version is a number from 1 to {_VERSION_MAX}, not {version}")
        self._keys = keys
        self._version = version
        self._token = token
        self._derived: dict[str, bytes] = {}

    def encrypt(self, text: str, context: str) -> bytes:
        """Encrypt a text for one place: ``context`` names row and column (``<person id>:name``) and must be the same
        when it is read, so that a value moved to another row is refused.
        """
        nonce = self._token(_NONCE_BYTES)
        head = bytes([self._version])
        return head + nonce + sm4_gcm_encrypt(self._key(self._version), nonce, text.encode(), head + context.encode())

    def decrypt(self, value: bytes, context: str) -> str:
        """The text of an encrypted value. Raises ``PersonalDataError``."""
        if len(value) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise PersonalDataError("the encrypted value is too short")
        if not 1 <= value[0] <= self._version:
            raise PersonalDataError(f"the encrypted value has key version {value[0]}, which is not known here")
        nonce, sealed = value[1 : 1 + _NONCE_BYTES], value[1 + _NONCE_BYTES :]
        try:
            text = sm4_gcm_decrypt(self._key(value[0]), nonce, sealed, value[:1] + context.encode())
        except DecryptionFailed:
            raise PersonalDataError(
                "the encrypted value was changed, moved, or belongs to another master key"
            ) from None
        return text.decode()

    def blind_index(self, kind: str, value: str) -> bytes:
        """32 bytes that are equal for equal values of one kind and tell nothing without the key.

        ``value`` is normalised first (see ``normalise``), so that 11010119900307777x and 11010119900307777X are found
        alike.
        """
        return hmac_sm3(self._derive(f"personal/index/{kind}", 32), normalise(value).encode())

    def _key(self, version: int) -> bytes:
        return self._derive(f"personal/encryption/{version}", _KEY_BYTES)

    def _derive(self, name: str, size: int) -> bytes:
        if name not in self._derived:
            self._derived[name] = self._keys.derive(name, size)
        return self._derived[name]


def normalise(value: str) -> str:
    """The form in which values are compared: full-width letters and digits made plain, no blanks, upper case."""
    return "".join(unicodedata.normalize("NFKC", value).split()).upper()
