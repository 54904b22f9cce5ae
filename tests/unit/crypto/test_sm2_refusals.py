"""SM2: everything that must be refused is, each by itself and with each library."""

from __future__ import annotations

import pytest

from terminal_sdk.crypto import (
    DecryptionFailed,
    KeyInvalid,
    SignatureInvalid,
    Sm2PrivateKey,
    Sm2PublicKey,
    curve,
    sm2,
)
from terminal_sdk.crypto.backends import Backend, choose
from terminal_sdk.crypto.backends.openssl_sm2 import OpensslSm2

pytestmark = pytest.mark.usefixtures("library")

MESSAGE = b"a bill of 123.45"


@pytest.fixture
def key() -> Sm2PrivateKey:
    return Sm2PrivateKey.generate()


@pytest.fixture
def signature(key: Sm2PrivateKey) -> bytes:
    return key.sign(MESSAGE)


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def test_own_signature_is_accepted(key: Sm2PrivateKey, signature: bytes) -> None:
    key.public_key.verify(MESSAGE, signature)


def test_signature_differs_at_every_call(key: Sm2PrivateKey, signature: bytes) -> None:
    assert key.sign(MESSAGE) != signature


def test_other_message(key: Sm2PrivateKey, signature: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="does not fit"):
        key.public_key.verify(MESSAGE + b"0", signature)


def test_other_key(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="does not fit"):
        Sm2PrivateKey.generate().public_key.verify(MESSAGE, signature)


def test_other_identity(key: Sm2PrivateKey, signature: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="does not fit"):
        key.public_key.verify(MESSAGE, signature, identity=b"ALICE123@YAHOO.COM")


def test_own_identity_is_accepted(key: Sm2PrivateKey) -> None:
    key.public_key.verify(MESSAGE, key.sign(MESSAGE, identity=b"bank"), identity=b"bank")


def test_signature_without_z(key: Sm2PrivateKey) -> None:
    # an empty identity still hashes curve and key: it is not "no Z"
    with pytest.raises(SignatureInvalid, match="does not fit"):
        key.public_key.verify(MESSAGE, key.sign(MESSAGE, identity=b""))


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_altered_bit(key: Sm2PrivateKey, signature: bytes, position: int) -> None:
    altered = bytearray(signature)
    altered[position] ^= 1
    with pytest.raises(SignatureInvalid):
        key.public_key.verify(MESSAGE, bytes(altered))


@pytest.mark.parametrize("size", [0, 1, 32, 63])
def test_truncated_signature(key: Sm2PrivateKey, signature: bytes, size: int) -> None:
    with pytest.raises(SignatureInvalid, match="in range"):
        key.public_key.verify(MESSAGE, signature[:size])


def test_overlong_signature(key: Sm2PrivateKey, signature: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="in range"):
        key.public_key.verify(MESSAGE, signature + b"\0")


@pytest.mark.parametrize(
    ("r", "s"),
    [
        pytest.param(0, 1, id="r is 0"),
        pytest.param(1, 0, id="s is 0"),
        pytest.param(0, 0, id="both are 0"),
        pytest.param(curve.N, 1, id="r is n"),
        pytest.param(1, curve.N, id="s is n"),
        pytest.param(2**256 - 1, 1, id="r is the largest number"),
        pytest.param(1, 2**256 - 1, id="s is the largest number"),
        pytest.param(5, curve.N - 5, id="r + s is n"),
    ],
)
def test_numbers_out_of_range(key: Sm2PrivateKey, r: int, s: int) -> None:
    with pytest.raises(SignatureInvalid, match="in range"):
        key.public_key.verify(MESSAGE, number(r) + number(s))


def test_s_raised_by_n_is_not_another_form(key: Sm2PrivateKey) -> None:
    # n is so near 2^256 that few s have such a form: take the numbers, not a signature
    with pytest.raises(SignatureInvalid, match="in range"):
        key.public_key.verify(MESSAGE, number(7) + number(curve.N + 7))


def test_point_not_on_the_curve(key: Sm2PrivateKey) -> None:
    data = bytearray(key.public_key.to_bytes())
    data[-1] ^= 1
    with pytest.raises(KeyInvalid):
        Sm2PublicKey.from_bytes(bytes(data))


@pytest.mark.parametrize("data", [b"\0", b"\0" * 65, b"\x04" + b"\0" * 64], ids=["00", "65 zeros", "04 and zeros"])
def test_point_at_infinity(data: bytes) -> None:
    with pytest.raises(KeyInvalid):
        Sm2PublicKey.from_bytes(data)


def test_coordinate_not_below_p() -> None:
    # (0, y) lies on the curve; (p, y) is the same point written in a form that is not allowed
    y = pow(curve.B, (curve.P + 1) // 4, curve.P)
    Sm2PublicKey.from_bytes(b"\x04" + number(0) + number(y))
    with pytest.raises(KeyInvalid):
        Sm2PublicKey.from_bytes(b"\x04" + number(curve.P) + number(y))


@pytest.mark.parametrize("lead", [0x00, 0x02, 0x03, 0x06])
def test_other_point_forms(key: Sm2PrivateKey, lead: int) -> None:
    with pytest.raises(KeyInvalid):
        Sm2PublicKey.from_bytes(bytes((lead,)) + key.public_key.to_bytes()[1:])


@pytest.mark.parametrize("size", [0, 33, 64, 66])
def test_public_key_of_other_length(key: Sm2PrivateKey, size: int) -> None:
    with pytest.raises(KeyInvalid):
        Sm2PublicKey.from_bytes((key.public_key.to_bytes() + b"\0")[:size])


@pytest.mark.parametrize("d", [0, curve.N - 1, curve.N, 2**256 - 1])
def test_private_key_out_of_range(d: int) -> None:
    with pytest.raises(KeyInvalid):
        Sm2PrivateKey.from_bytes(number(d))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_private_key_of_other_length(size: int) -> None:
    with pytest.raises(KeyInvalid):
        Sm2PrivateKey.from_bytes(b"\x01" * size)


@pytest.mark.parametrize("d", [1, 2, curve.N - 2])
def test_private_keys_at_the_ends_of_the_range_work(d: int) -> None:
    key = Sm2PrivateKey.from_bytes(number(d))
    key.public_key.verify(MESSAGE, key.sign(MESSAGE))


@pytest.mark.parametrize("size", [1, 16, 48, 255])
def test_encrypt_and_decrypt(key: Sm2PrivateKey, size: int) -> None:
    secret = bytes(range(size))
    ciphertext = key.public_key.encrypt(secret)
    assert len(ciphertext) == 65 + 32 + size
    assert ciphertext[0] == 4
    assert key.decrypt(ciphertext) == secret


@pytest.mark.parametrize("size", [0, 256])
def test_plaintext_of_other_length(key: Sm2PrivateKey, size: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        key.public_key.encrypt(b"x" * size)


@pytest.mark.parametrize("position", [0, 1, 40, 64, 65, 96, 97, -1])
def test_altered_ciphertext(key: Sm2PrivateKey, position: int) -> None:
    ciphertext = bytearray(key.public_key.encrypt(b"working keys"))
    ciphertext[position] ^= 1
    with pytest.raises(DecryptionFailed):
        key.decrypt(bytes(ciphertext))


@pytest.mark.parametrize("size", [0, 1, 65, 97])
def test_truncated_ciphertext(key: Sm2PrivateKey, size: int) -> None:
    with pytest.raises(DecryptionFailed):
        key.decrypt(key.public_key.encrypt(b"working keys")[:size])


class DecryptsAnything(OpensslSm2):
    """A library that never looks where C1 lies, nor at C3."""

    def decrypt(self, private: bytes, point: bytes, ciphertext: bytes) -> bytes | None:
        return b"d * C1 on a weak curve gives the key away"


def test_c1_not_on_the_curve_never_reaches_the_library(key: Sm2PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    ciphertext = bytearray(key.public_key.encrypt(b"working keys"))
    credulous = Backend(sm2=DecryptsAnything(), symmetric=choose().symmetric)
    monkeypatch.setattr(sm2, "backend", lambda: credulous)
    assert key.decrypt(bytes(ciphertext)).startswith(b"d * C1")
    ciphertext[64] ^= 1
    with pytest.raises(DecryptionFailed):
        key.decrypt(bytes(ciphertext))


@pytest.mark.parametrize("masked", [b"a", b"working keys"])
def test_a_mask_of_zeros_is_refused(key: Sm2PrivateKey, monkeypatch: pytest.MonkeyPatch, masked: bytes) -> None:
    class LeavesItClear(OpensslSm2):
        """A library that misses that the key stream came out as zeros: C2 is the plaintext."""

        def decrypt(self, private: bytes, point: bytes, ciphertext: bytes) -> bytes | None:
            return masked

    ciphertext = key.public_key.encrypt(b"any")[:97] + masked
    careless = Backend(sm2=LeavesItClear(), symmetric=choose().symmetric)
    monkeypatch.setattr(sm2, "backend", lambda: careless)
    with pytest.raises(DecryptionFailed):
        key.decrypt(ciphertext)


def test_a_mask_of_zeros_is_drawn_again(key: Sm2PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    class FirstLeavesItClear(OpensslSm2):
        """A library that once misses that the key stream came out as zeros."""

        drawn = 0

        def encrypt(self, point: bytes, plaintext: bytes) -> bytes:
            self.drawn += 1
            ciphertext = super().encrypt(point, plaintext)
            return ciphertext if self.drawn > 1 else ciphertext[:97] + plaintext

    careless = Backend(sm2=FirstLeavesItClear(), symmetric=choose().symmetric)
    monkeypatch.setattr(sm2, "backend", lambda: careless)
    assert key.decrypt(key.public_key.encrypt(b"working keys")) == b"working keys"


def test_ciphertext_for_another_key(key: Sm2PrivateKey) -> None:
    with pytest.raises(DecryptionFailed):
        Sm2PrivateKey.generate().decrypt(key.public_key.encrypt(b"working keys"))


def test_repr_and_errors_hide_the_key(key: Sm2PrivateKey) -> None:
    secret = key.to_bytes().hex()
    assert secret[:8] not in repr(key)
    with pytest.raises(DecryptionFailed) as caught:
        key.decrypt(b"\x04" + bytes(120))
    assert secret[:8] not in str(caught.value)
