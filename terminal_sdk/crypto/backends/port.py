"""What the package needs of a native library: a few primitives over bytes, nothing of keys, identities or formats."""

from __future__ import annotations

from typing import Protocol


class Sm2Engine(Protocol):
    """SM2 over digests. Callers have checked lengths and ranges; every method may be called from any thread.

    Points are 64 bytes x‖y, private keys 32 bytes, digests e = SM3(Z‖M) 32 bytes, signatures 64 bytes r‖s,
    ciphertexts 04‖x‖y‖C3‖C2.
    """

    name: str
    """As in ``SETTLEMENT_CRYPTO_BACKEND``."""
    releases_gil: bool
    """Whether other Python threads run during ``verify_digest``, so that it is worth a thread."""

    def generate(self) -> tuple[bytes, bytes]:
        """A fresh private key and its public point."""
        ...

    def public_point(self, private: bytes) -> bytes:
        """The public point of a private key."""
        ...

    def sign_digest(self, private: bytes, point: bytes, digest: bytes) -> bytes:
        """A signature of e; the point is the private key's own."""
        ...

    def verify_digest(self, point: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether r‖s is a signature of e under the point, which is on the curve; r, s and r+s are in range."""
        ...

    def encrypt(self, point: bytes, plaintext: bytes) -> bytes:
        """Encrypt 1 to 255 bytes."""
        ...

    def decrypt(self, private: bytes, point: bytes, ciphertext: bytes) -> bytes | None:
        """The plaintext, or None when the ciphertext does not fit. Its C1 is on the curve."""
        ...


class SymmetricEngine(Protocol):
    """SM3 and SM4. Callers have checked lengths (keys, IVs and blocks 16 bytes, nonces 12); safe from any thread."""

    name: str
    """As in ``SETTLEMENT_CRYPTO_BACKEND``."""

    def sm3(self, data: bytes) -> bytes:
        """The SM3 digest."""
        ...

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """HMAC over SM3; any key length."""
        ...

    def encrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One SM4 block forward."""
        ...

    def decrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One SM4 block back."""
        ...

    def cbc_encrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """SM4-CBC over whole blocks (at least one), no padding added."""
        ...

    def cbc_decrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """SM4-CBC back over whole blocks (at least one), no padding removed."""
        ...

    def gcm_encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """SM4-GCM: ciphertext‖tag (16 bytes)."""
        ...

    def gcm_decrypt(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None when the tag is wrong. ``data`` has at least 16 bytes."""
        ...
