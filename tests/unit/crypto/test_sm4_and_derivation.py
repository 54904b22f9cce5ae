"""SM4 modes refuse what is altered; derived and diversified keys are stable, separate and as documented."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from terminal_sdk.crypto import (
    DecryptionFailed,
    KeyInvalid,
    derive_key,
    diversify,
    sm4_cbc_decrypt,
    sm4_cbc_encrypt,
    sm4_cbc_mac,
    sm4_decrypt_block,
    sm4_encrypt_block,
    sm4_gcm_decrypt,
    sm4_gcm_encrypt,
)

pytestmark = pytest.mark.usefixtures("library")

KEY = bytes(range(16))
NONCE = bytes(range(12))
IV = bytes(range(16, 32))
DIVERSIFIED = "a13cdc3808af32e02359ad6f346a7f03"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_gcm_round_trip(size: int) -> None:
    plaintext = b"x" * size
    sealed = sm4_gcm_encrypt(KEY, NONCE, plaintext, b"row 7")
    assert len(sealed) == size + 16
    assert sm4_gcm_decrypt(KEY, NONCE, sealed, b"row 7") == plaintext


@pytest.mark.parametrize("position", [0, 4, 5, -1])
def test_gcm_altered_ciphertext_or_tag(position: int) -> None:
    sealed = bytearray(sm4_gcm_encrypt(KEY, NONCE, b"12345"))
    sealed[position] ^= 1
    with pytest.raises(DecryptionFailed):
        sm4_gcm_decrypt(KEY, NONCE, bytes(sealed))


def test_gcm_other_additional_data() -> None:
    with pytest.raises(DecryptionFailed):
        sm4_gcm_decrypt(KEY, NONCE, sm4_gcm_encrypt(KEY, NONCE, b"12345", b"row 7"), b"row 8")


def test_gcm_other_nonce() -> None:
    with pytest.raises(DecryptionFailed):
        sm4_gcm_decrypt(KEY, bytes(12), sm4_gcm_encrypt(KEY, NONCE, b"12345"))


def test_gcm_other_key() -> None:
    with pytest.raises(DecryptionFailed):
        sm4_gcm_decrypt(bytes(16), NONCE, sm4_gcm_encrypt(KEY, NONCE, b"12345"))


@pytest.mark.parametrize("size", [0, 15, 16, 20])
def test_gcm_truncated(size: int) -> None:
    with pytest.raises(DecryptionFailed):
        sm4_gcm_decrypt(KEY, NONCE, sm4_gcm_encrypt(KEY, NONCE, b"12345")[:size])


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_cbc_round_trip(size: int) -> None:
    ciphertext = sm4_cbc_encrypt(KEY, IV, b"x" * size)
    assert len(ciphertext) == (size // 16 + 1) * 16
    assert sm4_cbc_decrypt(KEY, IV, ciphertext) == b"x" * size


@pytest.mark.parametrize("size", [0, 1, 15, 17])
def test_cbc_of_partial_blocks(size: int) -> None:
    with pytest.raises(DecryptionFailed):
        sm4_cbc_decrypt(KEY, IV, b"x" * size)


@pytest.mark.parametrize(
    "end",
    [b"\x00", b"\x11", b"\xff", b"\x03\x02\x03"],
    ids=["zero", "longer than a block", "far too long", "not all alike"],
)
def test_cbc_wrong_padding(end: bytes) -> None:
    block = bytes(16 - len(end)) + end
    ciphertext = sm4_encrypt_block(KEY, bytes(a ^ b for a, b in zip(block, IV, strict=True)))
    with pytest.raises(DecryptionFailed):
        sm4_cbc_decrypt(KEY, IV, ciphertext)


def test_cbc_padding_longer_than_a_block() -> None:
    first = sm4_encrypt_block(KEY, bytes(a ^ 17 for a in IV))
    second = sm4_encrypt_block(KEY, bytes(a ^ 17 for a in first))
    with pytest.raises(DecryptionFailed):
        sm4_cbc_decrypt(KEY, IV, first + second)  # 32 bytes of 17


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_keys_of_other_length(size: int) -> None:
    key = bytes(size)
    refusals: list[Callable[[], bytes]] = [
        lambda: sm4_gcm_encrypt(key, NONCE, b""),
        lambda: sm4_gcm_decrypt(key, NONCE, bytes(16)),
        lambda: sm4_cbc_encrypt(key, IV, b""),
        lambda: sm4_cbc_decrypt(key, IV, bytes(16)),
        lambda: sm4_encrypt_block(key, IV),
        lambda: sm4_decrypt_block(key, IV),
        lambda: sm4_cbc_mac(key, b""),
        lambda: diversify(key, b"", "card"),
    ]
    for refused in refusals:
        with pytest.raises(KeyInvalid):
            refused()


def test_nonces_and_blocks_of_other_length() -> None:
    refusals: list[Callable[[], bytes]] = [
        lambda: sm4_gcm_encrypt(KEY, bytes(16), b""),
        lambda: sm4_gcm_decrypt(KEY, bytes(8), bytes(16)),
        lambda: sm4_cbc_encrypt(KEY, bytes(12), b""),
        lambda: sm4_cbc_decrypt(KEY, bytes(12), bytes(16)),
        lambda: sm4_encrypt_block(KEY, bytes(15)),
        lambda: sm4_decrypt_block(KEY, bytes(32)),
    ]
    for refused in refusals:
        with pytest.raises(ValueError, match="must have"):
            refused()


def test_mac_tells_padding_from_data() -> None:
    assert sm4_cbc_mac(KEY, b"\x80") != sm4_cbc_mac(KEY, b"")
    assert sm4_cbc_mac(KEY, b"a") != sm4_cbc_mac(KEY, b"a\0")


def test_diversified_key_is_the_documented_mac() -> None:
    body = b"\x00\x04card" + b"310000000001"
    assert diversify(KEY, b"310000000001", "card") == sm4_cbc_mac(KEY, len(body).to_bytes(4, "big") + body)


def test_diversified_keys_never_change() -> None:
    # keys are on cards already: this number may not change
    assert diversify(KEY, b"A12345678", "legacy-check").hex() == DIVERSIFIED


def test_diversified_keys_are_separate() -> None:
    keys = {
        diversify(KEY, b"b", "a"),
        diversify(KEY, b"", "ab"),
        diversify(KEY, b"ab", ""),
        diversify(KEY, b"b\0", "a"),
        diversify(IV, b"b", "a"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("size", [1, 16, 32, 33, 64, 8160])
def test_derived_key_is_hkdf(size: int) -> None:
    # cryptography's HKDF is the independent answer
    expected = HKDF(hashes.SM3(), size, salt=None, info="应用 mac".encode()).derive(b"master secret")
    assert derive_key(b"master secret", "应用 mac", size) == expected


@pytest.mark.parametrize("size", [-1, 0, 8161])
def test_derived_key_of_impossible_size(size: int) -> None:
    with pytest.raises(ValueError, match="8160"):
        derive_key(b"master secret", "mac", size)
