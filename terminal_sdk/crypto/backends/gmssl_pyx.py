"""GmSSL's C library through the gmssl-pyx wheels: what takes over where OpenSSL cannot do it."""

from __future__ import annotations

import hmac

import gmssl_pyx

from terminal_sdk.crypto import curve, der

NAME = "gmssl-pyx"
_PADDING_BLOCK = b"\x10" * 16
_ZERO = bytes(16)
_TAG_SIZE = 16
_TAG_COUNTER = bytes((0, 0, 0, 1))  # NIST SP 800-38D, 7.1: masks the tag; the data begin with the next
_FIRST_COUNTER = bytes((0, 0, 0, 2))
_REDUCTION = 0xE1 << 120


class GmsslPyxSm2:
    """SM2 by GmSSL. Holds the GIL during its calls, so a thread gains nothing.

    The library writes a line to stderr for every signature or ciphertext it refuses (the place in its source, no
    data); it has no switch for that.
    """

    name = NAME
    releases_gil = False

    def generate(self) -> tuple[bytes, bytes]:
        """A fresh private key and its public point."""
        point, private = gmssl_pyx.sm2_key_generate()
        return bytes(private), bytes(point)

    def public_point(self, private: bytes) -> bytes:
        """The public point of a private key (the library has no call for it)."""
        x, y = curve.base_multiply(int.from_bytes(private, "big"))
        return x.to_bytes(32, "big") + y.to_bytes(32, "big")

    def sign_digest(self, private: bytes, point: bytes, digest: bytes) -> bytes:
        """Sign e."""
        del point  # the library needs the private key only
        return der.signature_from_der(gmssl_pyx.sm2_sign_sm3_digest(private, digest))

    def verify_digest(self, point: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether the signature fits."""
        try:
            return bool(gmssl_pyx.sm2_verify_sm3_digest(point, digest, der.signature_to_der(signature)))
        except gmssl_pyx.GmsslInnerError:
            return False

    def encrypt(self, point: bytes, plaintext: bytes) -> bytes:
        """Encrypt 1 to 255 bytes."""
        return der.ciphertext_from_der(gmssl_pyx.sm2_encrypt(point, plaintext))

    def decrypt(self, private: bytes, point: bytes, ciphertext: bytes) -> bytes | None:
        """The plaintext, or None."""
        del point
        try:
            return bytes(gmssl_pyx.sm2_decrypt(private, der.ciphertext_to_der(ciphertext)))
        except gmssl_pyx.GmsslInnerError:
            return None


class GmsslPyxSymmetric:
    """SM3 and SM4 by GmSSL. The library has no bare block cipher and no CBC without padding; both are composed."""

    name = NAME

    def sm3(self, data: bytes) -> bytes:
        """The SM3 digest."""
        return bytes(gmssl_pyx.sm3_hash(data))

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """HMAC over SM3. The library refuses an empty key; a zero byte is the same key, as keys are zero-padded."""
        return bytes(gmssl_pyx.sm3_hmac(key or b"\0", data))

    def encrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block forward: the key stream of counter mode whose counter is the block."""
        return bytes(gmssl_pyx.sm4_ctr_encrypt(key, block, _ZERO))

    def decrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block back."""
        return self.cbc_decrypt(key, _ZERO, block)

    def cbc_encrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC without padding: the library always pads, so its last block is dropped."""
        return bytes(gmssl_pyx.sm4_cbc_padding_encrypt(key, iv, data)[: len(data)])

    def cbc_decrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC without padding: a block is appended that decrypts to the padding the library insists on."""
        last = bytes(a ^ b for a, b in zip(data[-16:], _PADDING_BLOCK, strict=True))
        return bytes(gmssl_pyx.sm4_cbc_padding_decrypt(key, iv, data + self.encrypt_block(key, last)))

    def gcm_encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext‖tag."""
        if not plaintext:
            return self._tag_of_nothing(key, nonce, aad)
        ciphertext, tag = gmssl_pyx.sm4_gcm_encrypt(key, nonce, aad, plaintext)
        return bytes(ciphertext) + bytes(tag)

    def gcm_decrypt(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None.

        By counter mode and the tag of what comes out: the library's own call writes to stderr at every wrong tag.
        """
        ciphertext, tag = data[:-_TAG_SIZE], data[-_TAG_SIZE:]
        plaintext = bytes(gmssl_pyx.sm4_ctr_encrypt(key, nonce + _FIRST_COUNTER, ciphertext)) if ciphertext else b""
        expected = self.gcm_encrypt(key, nonce, plaintext, aad)[-_TAG_SIZE:]
        return plaintext if hmac.compare_digest(expected, tag) else None

    def _tag_of_nothing(self, key: bytes, nonce: bytes, aad: bytes) -> bytes:
        """The tag over additional data alone: GHASH in Python, since the library refuses an empty plaintext."""
        hash_key = int.from_bytes(self.encrypt_block(key, _ZERO), "big")
        lengths = (len(aad) * 8).to_bytes(8, "big") + bytes(8)
        padded = aad + bytes(-len(aad) % 16) + lengths
        total = 0
        for start in range(0, len(padded), 16):
            total = _field_multiply(total ^ int.from_bytes(padded[start : start + 16], "big"), hash_key)
        mask = int.from_bytes(self.encrypt_block(key, nonce + _TAG_COUNTER), "big")
        return (total ^ mask).to_bytes(16, "big")


def _field_multiply(left: int, right: int) -> int:
    """Multiplication in GCM's field (NIST SP 800-38D, 6.3): bits run from the most significant."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (_REDUCTION if right & 1 else 0)
    return product
