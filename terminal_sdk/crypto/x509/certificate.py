"""A certificate: parsed once, immutable, with what a chain check needs beside the public fields."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from asn1crypto import x509

from terminal_sdk.crypto.errors import CertificateInvalid
from terminal_sdk.crypto.sm2 import Sm2PublicKey
from terminal_sdk.crypto.sm3 import sm3
from terminal_sdk.crypto.x509 import asn1

PEM_LABEL = "CERTIFICATE"


@dataclass(frozen=True, eq=False)
class Certificate:
    """An X.509 v3 certificate of an SM2 key, signed with SM2 and SM3. Equal when the DER form is.

    Parsing checks form only; ``verify_chain`` checks signatures, times and revocation.
    """

    der: bytes = field(repr=False)
    subject: str = field(repr=False)
    """The subject's common name ("" where it has none); not shown by ``repr``, it may be a card number."""
    issuer: str
    """The issuer's common name."""
    serial_number: int
    not_before: dt.datetime
    """Aware, UTC."""
    not_after: dt.datetime
    """Aware, UTC; the last moment of its validity."""
    public_key: Sm2PublicKey
    is_ca: bool
    """Whether it says that it may issue certificates (basicConstraints)."""
    path_length: int | None
    """How many further authorities may stand between this one and a leaf; None: any number."""
    key_usage: frozenset[str] | None
    """Names as in RFC 5280 with underscores (``key_cert_sign`` …); None where the extension is absent."""
    subject_name: bytes = field(repr=False)
    issuer_name: bytes = field(repr=False)
    subject_key_identifier: bytes | None = field(repr=False)
    authority_key_identifier: bytes | None = field(repr=False)
    to_be_signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def from_der(cls, data: bytes) -> Certificate:
        """Parse; ``CertificateInvalid`` (malformed) for anything but an SM2-with-SM3 v3 certificate."""
        with asn1.parsing("certificate"):
            return _parse(bytes(data))

    @classmethod
    def from_pem(cls, text: str | bytes) -> Certificate:
        """Parse one PEM block; ``CertificateInvalid`` (malformed) as above, or for more blocks than one."""
        with asn1.parsing("certificate"):
            return cls.from_der(asn1.single(PEM_LABEL, text))

    @classmethod
    def all_from_pem(cls, text: str | bytes) -> list[Certificate]:
        """Every certificate of a PEM bundle, in its order; at least one."""
        with asn1.parsing("certificate bundle"):
            return [cls.from_der(data) for data in asn1.unarmor(PEM_LABEL, text)]

    def pem(self) -> str:
        """PEM text."""
        return asn1.armor(PEM_LABEL, self.der)

    @property
    def fingerprint(self) -> str:
        """SM3 of the DER form, lower-case hex."""
        return sm3(self.der).hex()

    @property
    def may_sign_certificates(self) -> bool:
        """CA flag, and keyCertSign where a key usage is given."""
        return self.is_ca and (self.key_usage is None or "key_cert_sign" in self.key_usage)

    @property
    def may_sign_crls(self) -> bool:
        """cRLSign where a key usage is given."""
        return self.key_usage is None or "crl_sign" in self.key_usage

    def __eq__(self, other: object) -> bool:
        """Equal when the DER form is."""
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        """By the DER form."""
        return hash(self.der)


def _parse(data: bytes) -> Certificate:
    parsed: Any = asn1.load(x509.Certificate, data)
    body = parsed["tbs_certificate"]
    asn1.check_signature_algorithm(parsed["signature_algorithm"], body["signature"])
    extensions = asn1.extensions_of(body["extensions"])
    asn1.check_extensions(extensions, asn1.CRITICAL_EXTENSIONS_KNOWN, "certificate")
    constraints = asn1.extension_of(extensions, "basic_constraints")
    usage = asn1.extension_of(extensions, "key_usage")
    subject_identifier = asn1.extension_of(extensions, "key_identifier")
    authority_identifier = asn1.extension_of(extensions, "authority_key_identifier")
    certificate = Certificate(
        der=data,
        subject=asn1.common_name_of(body["subject"]),
        issuer=asn1.common_name_of(body["issuer"]),
        serial_number=int(body["serial_number"].native),
        not_before=asn1.moment_of(body["validity"]["not_before"]),
        not_after=asn1.moment_of(body["validity"]["not_after"]),
        public_key=asn1.public_key_of(body["subject_public_key_info"]),
        is_ca=bool(constraints["ca"].native) if constraints is not None else False,
        path_length=constraints["path_len_constraint"].native if constraints is not None else None,
        key_usage=frozenset(usage.native) if usage is not None else None,
        subject_name=body["subject"].dump(),
        issuer_name=body["issuer"].dump(),
        subject_key_identifier=subject_identifier.native if subject_identifier is not None else None,
        authority_key_identifier=(
            authority_identifier["key_identifier"].native if authority_identifier is not None else None
        ),
        to_be_signed=body.dump(),
        signature=parsed["signature_value"].native,
    )
    _check(certificate, body["version"].native)
    return certificate


def _check(certificate: Certificate, version: str) -> None:
    if version != "v3":
        raise CertificateInvalid("malformed", "only version 3 certificates are accepted")
    if certificate.serial_number <= 0:
        raise CertificateInvalid("malformed", "the serial number is not positive")
    if certificate.not_before > certificate.not_after:
        raise CertificateInvalid("malformed", "the certificate ends before it begins")
    if certificate.path_length is not None and certificate.path_length < 0:
        raise CertificateInvalid("malformed", "the path length is negative")
