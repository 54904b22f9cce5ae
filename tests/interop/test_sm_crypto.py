"""SM2, SM3 and SM4 against ``sm-crypto``, the library of web tills: what one makes, the other accepts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from settlement.banks.iso.keys import WorkingKeys, network_mac_key, seal
from terminal_sdk.crypto import (
    DecryptionFailed,
    SignatureInvalid,
    Sm2PrivateKey,
    der,
    diversify,
    hmac_sm3,
    sm3,
    sm4_cbc_decrypt,
    sm4_cbc_encrypt,
    sm4_cbc_mac,
    sm4_decrypt_block,
    sm4_encrypt_block,
    sm4_gcm_decrypt,
    sm4_gcm_encrypt,
)
from tests.interop.link_keys import derived, opened
from tests.interop.node import Node, NodeError, NodeKey

KEY = Sm2PrivateKey.from_bytes(bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"))
"""The key of the standard's example (GB/T 32918.5), so that the messages below give what they say."""
EPHEMERAL = "59276e27d506861a16680f3ad9c02dccef3cc1fa3cdbe4ce6d54b80deac1bc21"
LONG = bytes(range(256)) * 500

few = settings(max_examples=12, deadline=None)
messages = st.binary(max_size=300)
blocks = st.binary(min_size=16, max_size=16)


def accepts(node: Node, message: bytes, signature: bytes, key: Sm2PrivateKey = KEY, **more: object) -> bool:
    """Whether sm-crypto takes the signature."""
    public_key = key.public_key.to_bytes().hex()
    answer = node.call("sm2.verify", message=message.hex(), signature=signature.hex(), publicKey=public_key, **more)
    assert isinstance(answer, bool)
    return answer


def signed_there(node: Node, message: bytes, **more: object) -> bytes:
    return bytes.fromhex(node.call("sm2.sign", message=message.hex(), privateKey=KEY.to_bytes().hex(), **more))


@given(message=messages)
@example(message=b"")
@example(message=LONG)
@few
def test_our_signature_is_accepted_there(node: Node, message: bytes) -> None:
    key = Sm2PrivateKey.generate()
    signature = key.sign(message)
    assert accepts(node, message, signature, key)
    assert accepts(node, message, der.signature_to_der(signature), key, der=True)
    assert not accepts(node, message + b"0", signature, key)
    assert not accepts(node, message, signature)  # another key


@given(message=messages)
@example(message=b"")
@example(message=LONG)
@few
def test_their_signature_is_accepted_here(node: Node, message: bytes) -> None:
    key = NodeKey(node)
    key.public_key.verify(message, key.sign(message))
    with pytest.raises(SignatureInvalid):
        key.public_key.verify(message + b"0", key.sign(message))
    with pytest.raises(SignatureInvalid):
        KEY.public_key.verify(message, key.sign(message))


@given(place=st.integers(0, 63), flip=st.integers(1, 255))
@few
def test_no_altered_signature_is_accepted_on_either_side(node: Node, place: int, flip: int) -> None:
    altered = bytearray(signed_there(node, b"message"))
    altered[place] ^= flip
    assert not accepts(node, b"message", bytes(altered))
    with pytest.raises(SignatureInvalid):
        KEY.public_key.verify(b"message", bytes(altered))


@given(identity=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60))
@few
def test_an_identity_of_ones_own(node: Node, identity: str) -> None:
    signature = KEY.sign(b"message", identity.encode("ascii"))
    assert accepts(node, b"message", signature, identity=identity)
    assert accepts(node, b"message", signature) == (identity == "1234567812345678")
    KEY.public_key.verify(b"message", signed_there(node, b"message", identity=identity), identity.encode("ascii"))


@pytest.mark.parametrize(
    ("message", "size"),
    [
        pytest.param(b"message 3", 72, id="both need a zero in front"),
        pytest.param(b"message 28", 71, id="r lacks four bits"),
        pytest.param(b"message 1243", 70, id="r lacks a byte, and its next bit is set"),
        pytest.param(b"message 31774", 69, id="r lacks two bytes"),
        pytest.param(b"message 9", 70, id="s lacks a byte, and its next bit is set"),
        pytest.param(b"message 14096", 68, id="s lacks two bytes"),
    ],
)
def test_short_components_in_both_forms(node: Node, message: bytes, size: int) -> None:
    """Leading zeros stay in r‖s and leave in DER; the ephemeral key is given, so the shapes are always the same."""
    raw = signed_there(node, message, ephemeral=EPHEMERAL)
    encoded = signed_there(node, message, ephemeral=EPHEMERAL, der=True)
    assert (len(raw), len(encoded)) == (64, size)
    assert der.signature_to_der(raw) == encoded
    assert der.signature_from_der(encoded) == raw
    KEY.public_key.verify(message, raw)


def test_der_with_a_needless_zero_is_refused_on_both_sides(node: Node) -> None:
    body = der.signature_to_der(KEY.sign(b"message"))
    r_size = body[3]
    padded = bytes([0x30, body[1] + 1, 0x02, r_size + 1, 0]) + body[4:]
    assert not accepts(node, b"message", padded, der=True)
    with pytest.raises(ValueError, match="DER integer"):
        der.signature_from_der(padded)


@given(secret=st.binary(min_size=1, max_size=255))
@example(secret=bytes(64))  # the working keys of a terminal's session have this size
@few
def test_our_ciphertext_is_opened_there(node: Node, secret: bytes) -> None:
    sealed = KEY.public_key.encrypt(secret).hex()
    assert node.call("sm2.decrypt", ciphertext=sealed, privateKey=KEY.to_bytes().hex()) == secret.hex()
    other = Sm2PrivateKey.generate().to_bytes().hex()
    assert node.call("sm2.decrypt", ciphertext=sealed, privateKey=other) is None


@given(secret=st.binary(min_size=8, max_size=255))  # shorter ones: see the all-zero mask below
@few
def test_their_ciphertext_is_opened_here(node: Node, secret: bytes) -> None:
    sealed = node.call("sm2.encrypt", message=secret.hex(), publicKey=KEY.public_key.to_bytes().hex())
    assert KEY.decrypt(bytes.fromhex(sealed)) == secret
    with pytest.raises(DecryptionFailed):
        KEY.decrypt(bytes.fromhex(sealed[:-2]) + bytes([int(sealed[-2:], 16) ^ 1]))


def test_the_all_zero_mask_is_where_they_differ(node: Node) -> None:
    """GB/T 32918.4 (A5, B4) forbids a mask of zeros, under which the secret travels in clear; sm-crypto does not check.

    By chance it happens to one byte in 256 cases, to 64 bytes never.
    """
    in_clear = (
        "047817869165baf2ea7b371160bf0b5af2e7cb3ddef8561ea5ef0eeac8d98913fad828adbff51ce74c6149ee0fc3997d057a4fd5119641"
        "a11db9e0339042f308d1f24d1dff5dc066d4426c2ad1df85a403c6b5a5a13d8bfbddfa0c4cf50906c88331"
    )
    assert node.call("sm2.decrypt", ciphertext=in_clear, privateKey=KEY.to_bytes().hex()) == "31"
    with pytest.raises(DecryptionFailed):
        KEY.decrypt(bytes.fromhex(in_clear))


@given(data=messages, key=st.binary(max_size=100))
@example(data=b"", key=b"")
@example(data=LONG, key=bytes(64))
@few
def test_sm3_and_its_hmac(node: Node, data: bytes, key: bytes) -> None:
    assert node.call("sm3", data=data.hex()) == sm3(data).hex()
    assert node.call("sm3.hmac", data=data.hex(), key=key.hex()) == hmac_sm3(key, data).hex()


@given(key=blocks, iv=blocks, data=messages)
@example(key=bytes(16), iv=bytes(16), data=b"")
@example(key=bytes(16), iv=bytes(16), data=LONG[:20_000])
@few
def test_sm4_cbc(node: Node, key: bytes, iv: bytes, data: bytes) -> None:
    chosen = {"key": key.hex(), "iv": iv.hex(), "mode": "cbc", "padding": "pkcs#7"}
    sealed = node.call("sm4.encrypt", data=data.hex(), **chosen)
    assert sealed == sm4_cbc_encrypt(key, iv, data).hex()
    assert sm4_cbc_decrypt(key, iv, bytes.fromhex(sealed)) == data
    assert node.call("sm4.decrypt", data=sealed, **chosen) == data.hex()


@given(key=blocks, iv=blocks)
@few
def test_wrong_padding_is_refused_on_both_sides(node: Node, key: bytes, iv: bytes) -> None:
    chosen = {"key": key.hex(), "iv": iv.hex(), "mode": "cbc"}
    sealed = node.call("sm4.encrypt", data=(b"0123456789ab" + b"\4\4\3\4").hex(), padding="none", **chosen)
    with pytest.raises(NodeError, match="padding is invalid"):
        node.call("sm4.decrypt", data=sealed, padding="pkcs#7", **chosen)
    with pytest.raises(DecryptionFailed):
        sm4_cbc_decrypt(key, iv, bytes.fromhex(sealed))


@given(key=blocks, block=blocks)
@few
def test_sm4_block(node: Node, key: bytes, block: bytes) -> None:
    there = node.call("sm4.encrypt", data=block.hex(), key=key.hex())  # without a mode: ECB
    assert there == sm4_encrypt_block(key, block).hex()
    assert node.call("sm4.decrypt", data=there, key=key.hex()) == block.hex()
    assert sm4_decrypt_block(key, bytes.fromhex(there)) == block


@given(key=blocks, nonce=st.binary(min_size=12, max_size=12), data=messages, additional=messages)
@example(key=bytes(16), nonce=bytes(12), data=b"", additional=b"")
@few
def test_sm4_gcm(node: Node, key: bytes, nonce: bytes, data: bytes, additional: bytes) -> None:
    """The mode is written from the standard on top of their block cipher: sm-crypto itself has no GCM."""
    asked = {"key": key.hex(), "nonce": nonce.hex(), "additional": additional.hex()}
    sealed = node.call("sm4.gcm", data=data.hex(), **asked)
    assert sealed == sm4_gcm_encrypt(key, nonce, data, additional).hex()
    assert sm4_gcm_decrypt(key, nonce, bytes.fromhex(sealed), additional) == data
    assert node.call("sm4.gcm", data=sealed, open=True, **asked) == data.hex()
    assert node.call("sm4.gcm", data=sealed, open=True, **asked | {"additional": additional.hex() + "00"}) is None


@given(key=blocks, data=messages)
@example(key=bytes(16), data=b"")
@few
def test_sm4_cbc_mac(node: Node, key: bytes, data: bytes) -> None:
    assert node.call("sm4.cbcMac", data=data.hex(), key=key.hex()) == sm4_cbc_mac(key, data).hex()


@given(master_key=blocks, diversifier=st.binary(max_size=40), purpose=st.text(max_size=20))
@few
def test_derived_keys(node: Node, master_key: bytes, diversifier: bytes, purpose: str) -> None:
    there = node.call("sm4.diversify", masterKey=master_key.hex(), diversifier=diversifier.hex(), purpose=purpose)
    assert there == diversify(master_key, diversifier, purpose).hex()


def test_the_keys_of_a_bank_link(node: Node) -> None:
    """Whoever has only the zone master key and docs/reference/bank-link.md arrives at the same keys."""
    zone_key, keys = bytes(range(16)), WorkingKeys(3, b"m" * 16, b"p" * 16)
    assert derived(node, zone_key, "ICBC", "bank-network-mac") == network_mac_key(zone_key, "ICBC").hex()
    answer = {"7": "1124040000", "11": "000001", "37": "000000000001", "53": keys.label}
    sealed = seal(keys, zone_key=zone_key, bank="ICBC", exchange="1124040000000001000000000001", nonce=b"n" * 12)
    assert opened(node, zone_key, "ICBC", answer | {"48": sealed}) == keys.mac + keys.pin
