"""SM2 keys (GB/T 32918, GM/T 0003): sign, verify, encrypt and decrypt, in the raw forms of the wire."""

from __future__ import annotations

import functools

from terminal_sdk.crypto import curve
from terminal_sdk.crypto.backends import backend
from terminal_sdk.crypto.errors import DecryptionFailed, KeyInvalid, SignatureInvalid
from terminal_sdk.crypto.sm3 import sm3

DEFAULT_ID = b"1234567812345678"
"""The identity that enters Z where the parties agreed on no other (GM/T 0009)."""

SIGNATURE_SIZE = 64
PRIVATE_KEY_SIZE = 32
PUBLIC_KEY_SIZE = 65
PLAINTEXT_MAX = 255
_CIPHERTEXT_OVERHEAD = PUBLIC_KEY_SIZE + 32
_IDENTITY_MAX = 8191
_UNCOMPRESSED = 4
_CURVE_BYTES = b"".join(value.to_bytes(32, "big") for value in (curve.A, curve.B, curve.G_X, curve.G_Y))


class Sm2PublicKey:
    """A point on the curve. Immutable, hashable; equal when the point is."""

    def __init__(self, point: bytes) -> None:
        self._point = point

    @classmethod
    def from_bytes(cls, data: bytes) -> Sm2PublicKey:
        """From 65 bytes 04‖x‖y. ``KeyInvalid`` for another form, or a point that is not on the curve."""
        if len(data) != PUBLIC_KEY_SIZE or data[0] != _UNCOMPRESSED:
            raise KeyInvalid("an SM2 public key has 65 bytes, 04‖x‖y")
        if not _point_on_curve(data[1:]):
            raise KeyInvalid("the point is not on the SM2 curve")
        return cls(bytes(data[1:]))

    def to_bytes(self) -> bytes:
        """65 bytes 04‖x‖y."""
        return b"\x04" + self._point

    def z_value(self, identity: bytes = DEFAULT_ID) -> bytes:
        """Z: the digest of identity, curve and key that precedes every signed message (GB/T 32918.2, 5.5)."""
        return self._default_z if identity == DEFAULT_ID else self._z(identity)

    def verify(self, message: bytes, signature: bytes, identity: bytes = DEFAULT_ID) -> None:
        """Return when ``signature`` (64 bytes r‖s) is this key's over ``message`` under ``identity``.

        ``SignatureInvalid`` otherwise, whatever is wrong with it. Costs about half a millisecond of CPU.
        """
        if not _signature_in_range(signature):
            raise SignatureInvalid("the SM2 signature is not r‖s in range")
        digest = sm3(self.z_value(identity) + message)
        if not backend().sm2.verify_digest(self._point, digest, signature):
            raise SignatureInvalid("the SM2 signature does not fit")

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt a key or another short secret (1 to 255 bytes, else ``ValueError``): C1‖C3‖C2, C1 as 04‖x‖y."""
        if not 1 <= len(plaintext) <= PLAINTEXT_MAX:
            raise ValueError("SM2 encrypts 1 to 255 bytes")
        while True:
            ciphertext = backend().sm2.encrypt(self._point, plaintext)
            if ciphertext[_CIPHERTEXT_OVERHEAD:] != plaintext:  # an all-zero mask is drawn again (GB/T 32918.4, A5)
                return ciphertext

    @functools.cached_property
    def _default_z(self) -> bytes:
        return self._z(DEFAULT_ID)

    def _z(self, identity: bytes) -> bytes:
        if len(identity) > _IDENTITY_MAX:
            raise ValueError("an SM2 identity has at most 8191 bytes")
        return sm3((len(identity) * 8).to_bytes(2, "big") + identity + _CURVE_BYTES + self._point)

    def __eq__(self, other: object) -> bool:
        """Equal when the point is."""
        return isinstance(other, Sm2PublicKey) and self._point == other._point

    def __hash__(self) -> int:
        """By the point."""
        return hash(self._point)

    def __repr__(self) -> str:
        """The beginning of the point: enough to tell two keys apart in a log."""
        return f"Sm2PublicKey({self._point[:4].hex()}…)"


class Sm2PrivateKey:
    """A private key with its public key. Its ``repr`` shows neither."""

    __slots__ = ("_private", "public_key")

    def __init__(self, private: bytes, public_key: Sm2PublicKey) -> None:
        self._private = private
        self.public_key = public_key

    @classmethod
    def generate(cls) -> Sm2PrivateKey:
        """A fresh key from the library's random generator."""
        private, point = backend().sm2.generate()
        return cls(private, Sm2PublicKey.from_bytes(b"\x04" + point))

    @classmethod
    def from_bytes(cls, data: bytes) -> Sm2PrivateKey:
        """From 32 bytes, big-endian. ``KeyInvalid`` unless it lies in [1, n-2]."""
        if len(data) != PRIVATE_KEY_SIZE or not curve.private_in_range(int.from_bytes(data, "big")):
            raise KeyInvalid("an SM2 private key has 32 bytes and lies in [1, n-2]")
        private = bytes(data)
        return cls(private, Sm2PublicKey.from_bytes(b"\x04" + backend().sm2.public_point(private)))

    def to_bytes(self) -> bytes:
        """32 bytes, big-endian: the secret itself."""
        return self._private

    def sign(self, message: bytes, identity: bytes = DEFAULT_ID) -> bytes:
        """64 bytes r‖s over ``message`` under ``identity``; another signature at every call."""
        digest = sm3(self.public_key.z_value(identity) + message)
        return backend().sm2.sign_digest(self._private, self._point, digest)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Undo ``Sm2PublicKey.encrypt``. ``DecryptionFailed`` when altered, malformed or for another key."""
        size = len(ciphertext) - _CIPHERTEXT_OVERHEAD
        well_formed = 1 <= size <= PLAINTEXT_MAX and ciphertext[0] == _UNCOMPRESSED
        if not well_formed or not _point_on_curve(ciphertext[1:PUBLIC_KEY_SIZE]):
            raise DecryptionFailed("SM2: cannot be decrypted")
        plaintext = backend().sm2.decrypt(self._private, self._point, ciphertext)
        if plaintext is None or plaintext == ciphertext[_CIPHERTEXT_OVERHEAD:]:  # the all-zero mask (B4)
            raise DecryptionFailed("SM2: cannot be decrypted")
        return plaintext

    @property
    def _point(self) -> bytes:
        return self.public_key.to_bytes()[1:]

    def __repr__(self) -> str:
        """Nothing of the key."""
        return "Sm2PrivateKey(…)"


def _point_on_curve(point: bytes) -> bool:
    return curve.on_curve(int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big"))


def _signature_in_range(signature: bytes) -> bool:
    """GB/T 32918.2, 7.1, steps 1, 2 and 5: checked here, so that no backend's leniency matters."""
    if len(signature) != SIGNATURE_SIZE:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    return 1 <= r < curve.N and 1 <= s < curve.N and (r + s) % curve.N != 0
