"""SM3 and SM4 of the OpenSSL inside the ``cryptography`` wheels."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from terminal_sdk.crypto.backends.libcrypto import NAME

_TAG_SIZE = 16


class OpensslSymmetric:
    """SM3 and SM4 by OpenSSL, independent of the system's OpenSSL and of the one Python was built with."""

    name = NAME

    def sm3(self, data: bytes) -> bytes:
        """The SM3 digest."""
        digest = hashes.Hash(hashes.SM3())
        digest.update(data)
        return digest.finalize()

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """HMAC over SM3."""
        code = hmac.HMAC(key, hashes.SM3())
        code.update(data)
        return code.finalize()

    def encrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block forward."""
        return _run(Cipher(algorithms.SM4(key), modes.ECB()).encryptor(), block)  # noqa: S305 - one block, no mode

    def decrypt_block(self, key: bytes, block: bytes) -> bytes:
        """One block back."""
        return _run(Cipher(algorithms.SM4(key), modes.ECB()).decryptor(), block)  # noqa: S305 - one block, no mode

    def cbc_encrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC without padding."""
        return _run(Cipher(algorithms.SM4(key), modes.CBC(iv)).encryptor(), data)

    def cbc_decrypt(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """CBC without padding."""
        return _run(Cipher(algorithms.SM4(key), modes.CBC(iv)).decryptor(), data)

    def gcm_encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext‖tag."""
        encryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(aad)
        return _run(encryptor, plaintext) + encryptor.tag

    def gcm_decrypt(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None."""
        decryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce, data[-_TAG_SIZE:])).decryptor()
        decryptor.authenticate_additional_data(aad)
        try:
            return _run(decryptor, data[:-_TAG_SIZE])
        except InvalidTag:
            return None


def _run(context: CipherContext, data: bytes) -> bytes:
    return context.update(data) + context.finalize()
