"""SM2-with-SM3 X.509 (GM/T 0015, RFC 5280): certificates, requests, revocation lists and the check of a chain."""

from __future__ import annotations

from terminal_sdk.crypto.x509.authority import CertificateAuthority
from terminal_sdk.crypto.x509.certificate import Certificate
from terminal_sdk.crypto.x509.chain import verify_chain
from terminal_sdk.crypto.x509.request import SigningRequest
from terminal_sdk.crypto.x509.revocation import RevocationList

__all__ = ["Certificate", "CertificateAuthority", "RevocationList", "SigningRequest", "verify_chain"]
