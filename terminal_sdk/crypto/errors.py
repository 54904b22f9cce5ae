"""What can go wrong in the cryptography: one family of typed errors, none of which carries key or message bytes."""

from __future__ import annotations

from typing import Literal

CertificateReason = Literal[
    "malformed",
    "expired",
    "not_yet_valid",
    "untrusted",
    "revoked",
    "bad_signature",
    "not_a_ca",
    "stale_crl",
]
"""Why a certificate, request or revocation list is refused; see ``CertificateInvalid``."""


class CryptoError(Exception):
    """Any refusal of this package."""


class BackendUnavailable(CryptoError):
    """No native backend works here, or the one that was asked for does not."""


class SignatureInvalid(CryptoError):
    """The signature does not fit key, identity and message, or is not 64 bytes of r‖s in range."""


class KeyInvalid(CryptoError):
    """A key of the wrong length, out of range, or a point that is not on the curve."""


class DecryptionFailed(CryptoError):
    """The ciphertext was altered, is for another key, or is malformed. Deliberately says no more than that."""


class CertificateInvalid(CryptoError):
    """A certificate, certificate request or revocation list is refused.

    ``reason`` is one of: malformed · expired · not_yet_valid · untrusted (no path to a root) · revoked ·
    bad_signature · not_a_ca (issuer may not issue: CA flag, key usage or path length) · stale_crl (the only
    revocation lists of the issuer are not current).
    """

    def __init__(self, reason: CertificateReason, message: str) -> None:
        self.reason: CertificateReason = reason
        super().__init__(f"{reason}: {message}")
