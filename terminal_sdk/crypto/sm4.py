"""SM4 (GB/T 32907): GCM, CBC, CBC-MAC, single blocks, and the diversification of master keys."""

from __future__ import annotations

from terminal_sdk.crypto.backends import backend
from terminal_sdk.crypto.errors import DecryptionFailed, KeyInvalid

BLOCK_SIZE = 16
KEY_SIZE = 16
NONCE_SIZE = 12
TAG_SIZE = 16
_ZERO_IV = bytes(BLOCK_SIZE)


def sm4_gcm_encrypt(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Ciphertext‖tag (16 bytes) under a 16-byte key and a 12-byte nonce that is never used twice with that key.

    Raises ``KeyInvalid`` for a key of another length, ``ValueError`` for such a nonce.
    """
    _check_key(key)
    _check_length("nonce", nonce, NONCE_SIZE)
    return backend().symmetric.gcm_encrypt(key, nonce, plaintext, aad)


def sm4_gcm_decrypt(key: bytes, nonce: bytes, data: bytes, aad: bytes = b"") -> bytes:
    """Undo ``sm4_gcm_encrypt``. ``DecryptionFailed`` when key, nonce, data or additional data is not the same."""
    _check_key(key)
    _check_length("nonce", nonce, NONCE_SIZE)
    plaintext = backend().symmetric.gcm_decrypt(key, nonce, data, aad) if len(data) >= TAG_SIZE else None
    if plaintext is None:
        raise DecryptionFailed("SM4-GCM: not authentic")
    return plaintext


def sm4_cbc_encrypt(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """CBC with PKCS#7 padding under a 16-byte IV that cannot be foreseen. Hides, but does not authenticate."""
    _check_key(key)
    _check_length("iv", iv, BLOCK_SIZE)
    padding = BLOCK_SIZE - len(plaintext) % BLOCK_SIZE
    return backend().symmetric.cbc_encrypt(key, iv, plaintext + bytes((padding,)) * padding)


def sm4_cbc_decrypt(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Undo ``sm4_cbc_encrypt``. ``DecryptionFailed`` for a wrong length or padding.

    An altered ciphertext may decrypt to other bytes: check a MAC first, and never tell a stranger which of the two
    failed.
    """
    _check_key(key)
    _check_length("iv", iv, BLOCK_SIZE)
    if not ciphertext or len(ciphertext) % BLOCK_SIZE:
        raise DecryptionFailed("SM4-CBC: cannot be decrypted")
    padded = backend().symmetric.cbc_decrypt(key, iv, ciphertext)
    padding = padded[-1]
    if not 1 <= padding <= BLOCK_SIZE or padded[-padding:] != bytes((padding,)) * padding:
        raise DecryptionFailed("SM4-CBC: cannot be decrypted")
    return padded[:-padding]


def sm4_encrypt_block(key: bytes, block: bytes) -> bytes:
    """One 16-byte block. For constructions that need the bare permutation; never a mode for data."""
    _check_key(key)
    _check_length("block", block, BLOCK_SIZE)
    return backend().symmetric.encrypt_block(key, block)


def sm4_decrypt_block(key: bytes, block: bytes) -> bytes:
    """Undo ``sm4_encrypt_block``."""
    _check_key(key)
    _check_length("block", block, BLOCK_SIZE)
    return backend().symmetric.decrypt_block(key, block)


def sm4_cbc_mac(key: bytes, data: bytes) -> bytes:
    """CBC-MAC (GB/T 15852.1, ISO/IEC 9797-1 algorithm 1): zero IV, padding method 2 (80 00 …), 16 bytes.

    The plain CBC-MAC of the field's bank messages. It is sound only where no message is a prefix of another
    (length-prefixed or fixed in form) and its key serves nothing else. Compare with ``hmac.compare_digest``.
    """
    _check_key(key)
    padded = data + b"\x80"
    padded += bytes(-len(padded) % BLOCK_SIZE)
    return backend().symmetric.cbc_encrypt(key, _ZERO_IV, padded)[-BLOCK_SIZE:]


def diversify(master_key: bytes, diversifier: bytes, purpose: str) -> bytes:
    """A 16-byte key of one card, terminal or session, from a 16-byte master key (密钥分散).

    SM4-CBC-MAC under the master key over ``length(4) ‖ length(2) ‖ purpose ‖ diversifier``, big-endian lengths of
    all that follows and of the purpose (UTF-8). The leading length makes the input prefix-free, so the MAC is a
    pseudo-random function and keys of different purposes or diversifiers say nothing of each other. A master key
    is used for diversification only.
    """
    label = purpose.encode()
    body = len(label).to_bytes(2, "big") + label + diversifier
    return sm4_cbc_mac(master_key, len(body).to_bytes(4, "big") + body)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_SIZE:
        raise KeyInvalid("an SM4 key has 16 bytes")


def _check_length(what: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise ValueError(f"{what} must have {size} bytes")
