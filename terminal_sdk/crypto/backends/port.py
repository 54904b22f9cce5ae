"""What the package needs of a native library: a few primitives over bytes, nothing of keys, identities or formats."""

from __future__ import annotations

from typing import Protocol


class Backend(Protocol):
    """A native implementation. Callers have checked lengths and ranges; every method may be called from any thread.

    Points are 64 bytes x‖y, private keys 32 bytes, digests 32 bytes, signatures 64 bytes r‖s, ciphertexts
    04‖x‖y‖C3‖C2, SM4 keys and blocks 16 bytes.
    """

    name: str
    """As in ``SETTLEMENT_CRYPTO_BACKEND``."""
    releases_gil: bool
    """Whether other Python threads run during ``sm2_verify_digest``, so that it is worth a thread."""

    def sm3(self, data: bytes) -> bytes:
        """The SM3 digest."""
        ...

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """HMAC over SM3; any key length."""
        ...

    def sm2_generate(self) -> tuple[bytes, bytes]:
        """A fresh private key and its public point."""
        ...

    def sm2_public_point(self, private: bytes) -> bytes:
        """The public point of a private key."""
        ...

    def sm2_sign_digest(self, private: bytes, digest: bytes) -> bytes:
        """Sign e = SM3(Z‖M)."""
        ...

    def sm2_verify_digest(self, point: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether r‖s is a signature of e under the point. The point is on the curve; r, s and r+s are in range."""
        ...

    def sm2_encrypt(self, point: bytes, plaintext: bytes) -> bytes:
        """Encrypt 1 to 255 bytes."""
        ...

    def sm2_decrypt(self, private: bytes, ciphertext: bytes) -> bytes | None:
        """The plaintext, or None when the ciphertext does not fit. Its C1 is on the curve."""
        ...

    def sm4_encrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block forward."""
        ...

    def sm4_decrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block back."""
        ...

    def sm4_cbc_encrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC over whole blocks, no padding added."""
        ...

    def sm4_cbc_decrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC back over whole blocks, no padding removed."""
        ...

    def sm4_gcm_encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext‖tag (16 bytes)."""
        ...

    def sm4_gcm_decrypt(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None when the tag is wrong."""
        ...
