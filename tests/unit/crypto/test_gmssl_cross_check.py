"""The independent cross-check: what we make, the pure-Python ``gmssl`` accepts, and the other way round."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from gmssl import sm2 as oracle_sm2
from gmssl import sm3 as oracle_sm3
from gmssl import sm4 as oracle_sm4
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terminal_sdk.crypto import (
    SignatureInvalid,
    Sm2PrivateKey,
    hmac_sm3,
    sm3,
    sm4_cbc_decrypt,
    sm4_cbc_encrypt,
    sm4_cbc_mac,
    sm4_decrypt_block,
    sm4_encrypt_block,
)

pytestmark = pytest.mark.usefixtures("library")

slow_oracle = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
messages = st.binary(max_size=300)
secrets = st.binary(min_size=8, max_size=64)
sm4_keys = st.binary(min_size=16, max_size=16)


def oracle_of(key: Sm2PrivateKey) -> oracle_sm2.CryptSM2:
    """The oracle with the same key. Its constructor would strip a leading 0 or 4 of the point: set it afterwards."""
    crypt = oracle_sm2.CryptSM2(private_key=key.to_bytes().hex(), public_key="", mode=1)
    crypt.public_key = key.public_key.to_bytes()[1:].hex()
    return crypt


@given(message=messages)
@slow_oracle
def test_our_signature_is_accepted_by_gmssl(message: bytes) -> None:
    key = Sm2PrivateKey.generate()
    signature = key.sign(message)
    oracle = oracle_of(key)
    assert oracle.verify_with_sm3(signature.hex(), message)
    assert not oracle.verify_with_sm3(signature.hex(), message + b"0")


@given(message=messages)
@slow_oracle
def test_gmssl_signature_is_accepted_by_us(message: bytes) -> None:
    key = Sm2PrivateKey.generate()
    signature = bytes.fromhex(oracle_of(key).sign_with_sm3(message))
    key.public_key.verify(message, signature)
    with pytest.raises(SignatureInvalid):
        key.public_key.verify(message + b"0", signature)


@given(secret=secrets)
@slow_oracle
def test_our_ciphertext_is_decrypted_by_gmssl(secret: bytes) -> None:
    key = Sm2PrivateKey.generate()
    assert oracle_of(key).decrypt(key.public_key.encrypt(secret)[1:]) == secret


@given(secret=secrets)
@slow_oracle
def test_gmssl_ciphertext_is_decrypted_by_us(secret: bytes) -> None:
    key = Sm2PrivateKey.generate()
    assert key.decrypt(b"\x04" + oracle_of(key).encrypt(secret)) == secret


@given(message=messages)
@slow_oracle
def test_sm3(message: bytes) -> None:
    assert sm3(message).hex() == oracle_sm3.sm3_hash(list(message))


@given(key=st.binary(max_size=100), message=messages)
@slow_oracle
def test_hmac_sm3(key: bytes, message: bytes) -> None:
    def digest(data: bytes) -> bytes:
        return bytes.fromhex(oracle_sm3.sm3_hash(list(data)))

    padded = (digest(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = digest(bytes(byte ^ 0x36 for byte in padded) + message)
    assert hmac_sm3(key, message) == digest(bytes(byte ^ 0x5C for byte in padded) + inner)


@given(key=sm4_keys, iv=sm4_keys, message=messages)
@slow_oracle
def test_sm4_cbc(key: bytes, iv: bytes, message: bytes) -> None:
    oracle = oracle_sm4.CryptSM4()
    oracle.set_key(key, oracle_sm4.SM4_ENCRYPT)
    ciphertext = sm4_cbc_encrypt(key, iv, message)
    assert ciphertext == oracle.crypt_cbc(iv, message)
    assert sm4_cbc_decrypt(key, iv, ciphertext) == message


@given(key=sm4_keys, block=sm4_keys)
@slow_oracle
def test_sm4_block(key: bytes, block: bytes) -> None:
    oracle = oracle_sm4.CryptSM4()
    oracle.set_key(key, oracle_sm4.SM4_ENCRYPT)
    assert sm4_encrypt_block(key, block) == oracle.crypt_ecb(block)[:16]  # a block of padding follows
    assert sm4_decrypt_block(key, sm4_encrypt_block(key, block)) == block


@given(key=sm4_keys, message=messages)
@slow_oracle
def test_sm4_cbc_mac(key: bytes, message: bytes) -> None:
    oracle = oracle_sm4.CryptSM4()
    oracle.set_key(key, oracle_sm4.SM4_ENCRYPT)
    padded = message + b"\x80" + b"\0" * (-(len(message) + 1) % 16)
    chained = bytes(16)
    for start in range(0, len(padded), 16):
        block = padded[start : start + 16]
        chained = oracle.crypt_ecb(bytes(a ^ b for a, b in zip(chained, block, strict=True)))[:16]
    assert sm4_cbc_mac(key, message) == chained


def test_the_slow_library_stays_out_of_the_product() -> None:
    root = Path(__file__).parents[3]
    sources = [*root.glob("terminal_sdk/**/*.py"), *root.glob("settlement/**/*.py")]
    assert sources
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "gmssl"], source
