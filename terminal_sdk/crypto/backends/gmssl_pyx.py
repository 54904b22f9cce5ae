"""The fallback backend: GmSSL's C library through the gmssl-pyx wheels, everything from one library."""

from __future__ import annotations

import gmssl_pyx

from terminal_sdk.crypto import curve, der

_PADDING_BLOCK = b"\x10" * 16
_ZERO = bytes(16)


class GmsslPyxBackend:
    """GmSSL. Holds the GIL during its calls."""

    name = "gmssl-pyx"
    releases_gil = False

    def sm3(self, data: bytes) -> bytes:
        """The SM3 digest."""
        return bytes(gmssl_pyx.sm3_hash(data))

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """HMAC over SM3."""
        return bytes(gmssl_pyx.sm3_hmac(key, data))

    def sm2_generate(self) -> tuple[bytes, bytes]:
        """A fresh private key and its public point."""
        point, private = gmssl_pyx.sm2_key_generate()
        return bytes(private), bytes(point)

    def sm2_public_point(self, private: bytes) -> bytes:
        """The public point of a private key (the library has no call for it)."""
        x, y = curve.base_multiply(int.from_bytes(private, "big"))
        return x.to_bytes(32, "big") + y.to_bytes(32, "big")

    def sm2_sign_digest(self, private: bytes, digest: bytes) -> bytes:
        """Sign e."""
        return der.signature_from_der(gmssl_pyx.sm2_sign_sm3_digest(private, digest))

    def sm2_verify_digest(self, point: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether the signature fits."""
        try:
            return bool(gmssl_pyx.sm2_verify_sm3_digest(point, digest, der.signature_to_der(signature)))
        except gmssl_pyx.GmsslInnerError:
            return False

    def sm2_encrypt(self, point: bytes, plaintext: bytes) -> bytes:
        """Encrypt 1 to 255 bytes."""
        return der.ciphertext_from_der(gmssl_pyx.sm2_encrypt(point, plaintext))

    def sm2_decrypt(self, private: bytes, ciphertext: bytes) -> bytes | None:
        """The plaintext, or None."""
        try:
            return bytes(gmssl_pyx.sm2_decrypt(private, der.ciphertext_to_der(ciphertext)))
        except gmssl_pyx.GmsslInnerError:
            return None

    def sm4_encrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block forward: the key stream of counter mode whose counter is the block."""
        return bytes(gmssl_pyx.sm4_ctr_encrypt(key, block, _ZERO))

    def sm4_decrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block back."""
        return self.sm4_cbc_decrypt(key, _ZERO, block)

    def sm4_cbc_encrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC without padding: the library always pads, so its last block is dropped."""
        return bytes(gmssl_pyx.sm4_cbc_padding_encrypt(key, iv, data)[: len(data)])

    def sm4_cbc_decrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC without padding: a block is appended that decrypts to the padding the library insists on."""
        last = bytes(a ^ b for a, b in zip(data[-16:], _PADDING_BLOCK, strict=True))
        return bytes(gmssl_pyx.sm4_cbc_padding_decrypt(key, iv, data + self.sm4_encrypt_block(key, last)))

    def sm4_gcm_encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext‖tag."""
        ciphertext, tag = gmssl_pyx.sm4_gcm_encrypt(key, nonce, aad, plaintext)
        return bytes(ciphertext) + bytes(tag)

    def sm4_gcm_decrypt(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None."""
        try:
            return bytes(gmssl_pyx.sm4_gcm_decrypt(key, nonce, aad, data[:-16], data[-16:]))
        except gmssl_pyx.GmsslInnerError:
            return None
