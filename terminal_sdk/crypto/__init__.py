"""The national algorithms (国密) of the system: SM2 keys and certificates, SM3, SM4. The package's public face."""

from __future__ import annotations

from terminal_sdk.crypto.backends import Backend, backend
from terminal_sdk.crypto.errors import (
    BackendUnavailable,
    CertificateInvalid,
    CertificateReason,
    CryptoError,
    DecryptionFailed,
    KeyInvalid,
    SignatureInvalid,
)
from terminal_sdk.crypto.sm2 import DEFAULT_ID, Sm2PrivateKey, Sm2PublicKey
from terminal_sdk.crypto.sm3 import derive_key, hmac_sm3, sm3
from terminal_sdk.crypto.sm4 import (
    diversify,
    sm4_cbc_decrypt,
    sm4_cbc_encrypt,
    sm4_cbc_mac,
    sm4_decrypt_block,
    sm4_encrypt_block,
    sm4_gcm_decrypt,
    sm4_gcm_encrypt,
)
from terminal_sdk.crypto.x509 import Certificate, CertificateAuthority, RevocationList, SigningRequest, verify_chain
from terminal_sdk.crypto.x509.private_key import from_pem as private_key_from_pem
from terminal_sdk.crypto.x509.private_key import to_pem as private_key_to_pem

__all__ = [
    "DEFAULT_ID",
    "Backend",
    "BackendUnavailable",
    "Certificate",
    "CertificateAuthority",
    "CertificateInvalid",
    "CertificateReason",
    "CryptoError",
    "DecryptionFailed",
    "KeyInvalid",
    "RevocationList",
    "SignatureInvalid",
    "SigningRequest",
    "Sm2PrivateKey",
    "Sm2PublicKey",
    "backend",
    "derive_key",
    "diversify",
    "hmac_sm3",
    "private_key_from_pem",
    "private_key_to_pem",
    "sm3",
    "sm4_cbc_decrypt",
    "sm4_cbc_encrypt",
    "sm4_cbc_mac",
    "sm4_decrypt_block",
    "sm4_encrypt_block",
    "sm4_gcm_decrypt",
    "sm4_gcm_encrypt",
    "verify_chain",
]
