"""A certificate request (PKCS#10, RFC 2986): what a terminal sends to be enrolled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asn1crypto import csr

from terminal_sdk.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from terminal_sdk.crypto.x509 import asn1

PEM_LABEL = "CERTIFICATE REQUEST"


@dataclass(frozen=True)
class SigningRequest:
    """A name and a public key, signed by the key's holder. Nothing in it is to be believed before ``verify``."""

    der: bytes = field(repr=False)
    common_name: str
    public_key: Sm2PublicKey
    to_be_signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def create(cls, key: Sm2PrivateKey, common_name: str) -> SigningRequest:
        """A request for this key under this name (1 to 64 printable characters, else ``ValueError``)."""
        info = csr.CertificationRequestInfo(
            {
                "version": "v1",
                "subject": asn1.name(common_name),
                "subject_pk_info": asn1.public_key_info(key.public_key),
                "attributes": [],
            }
        )
        request = csr.CertificationRequest(
            {
                "certification_request_info": info,
                "signature_algorithm": asn1.signature_algorithm(),
                "signature": asn1.sign(key, info.dump()),
            }
        )
        return cls.from_der(request.dump())

    @classmethod
    def from_der(cls, data: bytes) -> SigningRequest:
        """Parse; ``CertificateInvalid`` (malformed) for anything but a request of an SM2 key."""
        with asn1.parsing("certificate request"):
            parsed: Any = asn1.load(csr.CertificationRequest, data)
            asn1.check_signature_algorithm(parsed["signature_algorithm"])
            info = parsed["certification_request_info"]
            return cls(
                der=bytes(data),
                common_name=asn1.common_name_of(info["subject"]),
                public_key=asn1.public_key_of(info["subject_pk_info"]),
                to_be_signed=info.dump(),
                signature=parsed["signature"].native,
            )

    @classmethod
    def from_pem(cls, text: str | bytes) -> SigningRequest:
        """Parse one PEM block; ``CertificateInvalid`` (malformed) as above."""
        with asn1.parsing("certificate request"):
            return cls.from_der(asn1.single(PEM_LABEL, text))

    def pem(self) -> str:
        """PEM text."""
        return asn1.armor(PEM_LABEL, self.der)

    def verify(self) -> None:
        """Return when the holder of ``public_key`` signed it; ``CertificateInvalid`` (bad_signature) otherwise."""
        asn1.check_signature(self.public_key, self.to_be_signed, self.signature, "certificate request")
