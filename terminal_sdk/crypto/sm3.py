"""SM3 (GB/T 32905) and HMAC over it."""

from __future__ import annotations

from terminal_sdk.crypto.backends import backend

DIGEST_SIZE = 32
_HKDF_BLOCKS_MAX = 255


def sm3(data: bytes) -> bytes:
    """The SM3 digest, 32 bytes."""
    return backend().symmetric.sm3(data)


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """HMAC-SM3 (RFC 2104 over SM3, block size 64 bytes), 32 bytes. Compare with ``hmac.compare_digest``."""
    return backend().symmetric.hmac_sm3(key, data)


def derive_key(secret: bytes, purpose: str, size: int = 32) -> bytes:
    """HKDF (RFC 5869) over HMAC-SM3 with an empty salt; ``purpose`` (UTF-8) is the info field.

    Keys of different purposes are independent. ``secret`` must be as strong as a key (this is not a password
    hash). ``ValueError`` unless 1 <= size <= 8160 bytes.
    """
    if not 1 <= size <= _HKDF_BLOCKS_MAX * DIGEST_SIZE:
        raise ValueError("a derived key has 1 to 8160 bytes")
    extracted = hmac_sm3(bytes(DIGEST_SIZE), secret)
    info = purpose.encode()
    blocks = [b""]
    while len(blocks) <= -(-size // DIGEST_SIZE):
        blocks.append(hmac_sm3(extracted, blocks[-1] + info + bytes((len(blocks),))))
    return b"".join(blocks)[:size]
