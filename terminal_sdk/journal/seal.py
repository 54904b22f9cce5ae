"""What makes the journal's bodies unreadable to whoever finds the file, and a body unmovable to another attempt."""

from __future__ import annotations

import contextlib
import secrets

from terminal_sdk.crypto import CryptoError, Sm2PrivateKey, derive_key, hmac_sm3, sm4_gcm_decrypt, sm4_gcm_encrypt
from terminal_sdk.errors import JournalUnreadable

_NONCE_BYTES = 12


class Seal:
    """Enciphers (SM4-GCM) and marks (HMAC-SM3) under keys that are derived from the terminal's private key."""

    def __init__(self, key: Sm2PrivateKey) -> None:
        secret = key.to_bytes()
        self._cipher_key = derive_key(secret, "terminal-journal-cipher-1", 16)
        self._mark_key = derive_key(secret, "terminal-journal-mark-1", 32)

    def seal(self, clear: bytes, key: str, part: str) -> bytes:
        """One part (request or answer) of the attempt under an idempotency key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + sm4_gcm_encrypt(self._cipher_key, nonce, clear, f"{part}\n{key}".encode())

    def unsealed(self, sealed: object, key: str, part: str) -> bytes | None:
        """The part in clear, or None where there is none, or none that this key can read.

        An unreadable body must not hide the attempt: its key alone is enough to ask for it and to take it back.
        """
        if not isinstance(sealed, bytes):
            return None
        with contextlib.suppress(JournalUnreadable):
            return self._unseal(sealed, key, part)
        return None

    def mark(self, visit_no: str, line_no: int) -> bytes:
        """Tells one bill line from another without telling which it is."""
        return hmac_sm3(self._mark_key, f"{visit_no}\n{line_no}".encode())

    def _unseal(self, sealed: bytes, key: str, part: str) -> bytes:
        nonce, data = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return sm4_gcm_decrypt(self._cipher_key, nonce, data, f"{part}\n{key}".encode())
        except (CryptoError, ValueError) as error:
            raise JournalUnreadable(f"the {part} of attempt {key} cannot be deciphered with this key") from error
