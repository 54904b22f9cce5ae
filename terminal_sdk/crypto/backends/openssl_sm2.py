"""SM2 by the system's OpenSSL 3 through ctypes: the fastest verification measured, and the GIL is free meanwhile."""

from __future__ import annotations

import ctypes
import secrets
from ctypes import c_size_t
from typing import Any

from terminal_sdk.crypto import curve, der
from terminal_sdk.crypto.backends.libcrypto import NAME, UNCOMPRESSED, Libcrypto, owned

_BASE_POINT = curve.G_X.to_bytes(32, "big") + curve.G_Y.to_bytes(32, "big")
_POINT_SIZE = 65
_OUTPUT_MAX = 512  # of a signature (72 bytes) and of a ciphertext of 255 bytes (about 370)


class OpensslSm2:
    """SM2 by OpenSSL. ``OSError``, ``AttributeError`` or ``ValueError`` where the library cannot do it."""

    name = NAME
    releases_gil = True

    def __init__(self) -> None:
        self._lib = Libcrypto()
        self._group = self._lib.group_new(self._lib.nid_of(b"SM2"))
        if not self._group:
            self._lib.error_clear()
            raise ValueError("this OpenSSL has no SM2")
        # copied for every verification, which is several times cheaper than naming the curve again
        self._template = self._lib.make_key(b"\x04" + _BASE_POINT)

    @property
    def version(self) -> str:
        """The library's own words, as ``OpenSSL 3.0.19 27 Jan 2026``."""
        return bytes(self._lib.version(0)).decode("ascii", "replace")

    def generate(self) -> tuple[bytes, bytes]:
        """A fresh private key, uniform in [1, n-2] by the operating system's randomness, and its public point."""
        private = (secrets.randbelow(curve.N - 2) + 1).to_bytes(32, "big")
        return private, self.public_point(private)

    def public_point(self, private: bytes) -> bytes:
        """d·G; OpenSSL multiplies the base point by a secret in constant time."""
        lib = self._lib
        encoded = ctypes.create_string_buffer(_POINT_SIZE)
        with (
            owned(lib.number_new(private, len(private), None), lib.number_free) as scalar,
            owned(lib.point_new(self._group), lib.point_free) as point,
        ):
            done = lib.point_multiply(self._group, point, scalar, None, None, None) == 1
            size = lib.point_bytes(self._group, point, UNCOMPRESSED, encoded, _POINT_SIZE, None) if done else 0
            if size != _POINT_SIZE:
                raise ValueError("OpenSSL derives no public key")
        return encoded.raw[1:]

    def sign_digest(self, private: bytes, point: bytes, digest: bytes) -> bytes:
        """Sign e."""
        lib = self._lib
        with owned(lib.make_key(b"\x04" + point, private), lib.key_free) as key:
            signature = self._run(key, lib.sign_init, lib.sign, digest)
        if signature is None:
            raise ValueError("OpenSSL does not sign")
        return der.signature_from_der(signature)

    def verify_digest(self, point: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether the signature fits."""
        lib = self._lib
        encoded = der.signature_to_der(signature)
        with owned(lib.key_dup(self._template), lib.key_free) as key:
            fits = (
                lib.key_set_public(key, b"\x04" + point, _POINT_SIZE) == 1
                and self._verify(key, encoded, digest) == 1  # 0: does not fit, below 0: an error
            )
        if not fits:
            lib.error_clear()
        return fits

    def encrypt(self, point: bytes, plaintext: bytes) -> bytes:
        """Encrypt 1 to 255 bytes."""
        lib = self._lib
        with owned(lib.make_key(b"\x04" + point), lib.key_free) as key:
            ciphertext = self._run(key, lib.encrypt_init, lib.encrypt, plaintext)
        if ciphertext is None:
            raise ValueError("OpenSSL does not encrypt")
        return der.ciphertext_from_der(ciphertext)

    def decrypt(self, private: bytes, point: bytes, ciphertext: bytes) -> bytes | None:
        """The plaintext, or None."""
        lib = self._lib
        with owned(lib.make_key(b"\x04" + point, private), lib.key_free) as key:
            return self._run(key, lib.decrypt_init, lib.decrypt, der.ciphertext_to_der(ciphertext))

    def _verify(self, key: int, encoded: bytes, digest: bytes) -> int:
        lib = self._lib
        with owned(lib.context_of_key(key, None), lib.context_free) as context:
            if lib.verify_init(context) != 1:
                return -1
            return int(lib.verify(context, encoded, len(encoded), digest, len(digest)))

    def _run(self, key: int, init: Any, operation: Any, data: bytes) -> bytes | None:
        """One EVP operation from bytes to bytes, or None when the library refuses."""
        lib = self._lib
        output = ctypes.create_string_buffer(_OUTPUT_MAX)
        size = c_size_t(_OUTPUT_MAX)
        with owned(lib.context_of_key(key, None), lib.context_free) as context:
            if init(context) != 1 or operation(context, output, size, data, len(data)) != 1:
                lib.error_clear()
                return None
        return output.raw[: size.value]
