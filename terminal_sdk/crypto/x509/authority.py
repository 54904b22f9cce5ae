"""A certificate authority: a key with its certificate, issuing certificates and revocation lists."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from typing import Any

from asn1crypto import core, crl, x509

from terminal_sdk.crypto.errors import KeyInvalid
from terminal_sdk.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from terminal_sdk.crypto.x509 import asn1, private_key
from terminal_sdk.crypto.x509.certificate import Certificate
from terminal_sdk.crypto.x509.revocation import RevocationList

_SERIAL_BITS = 126
_CA_USAGE = {"key_cert_sign", "crl_sign"}
_LEAF_USAGE = {"digital_signature", "non_repudiation", "key_encipherment"}


class CertificateAuthority:
    """Issues under one name and one key. ``KeyInvalid`` when the certificate is not the key's, or is no CA's."""

    def __init__(self, key: Sm2PrivateKey, certificate: Certificate) -> None:
        if key.public_key != certificate.public_key:
            raise KeyInvalid("the certificate belongs to another key")
        if not certificate.may_sign_certificates:
            raise KeyInvalid("the certificate is not a certificate authority's")
        self._key = key
        self.certificate = certificate

    @classmethod
    def create_root(
        cls,
        common_name: str,
        not_before: dt.datetime,
        not_after: dt.datetime,
        key: Sm2PrivateKey | None = None,
    ) -> CertificateAuthority:
        """A self-signed root, with a fresh key where none is given. Times are aware, kept in whole seconds."""
        own_key = key or Sm2PrivateKey.generate()
        subject = asn1.name(common_name)
        body = _certificate_body(
            subject=subject,
            issuer=subject,
            public_key=own_key.public_key,
            issuer_identifier=asn1.key_identifier(own_key.public_key),
            validity=(not_before, not_after),
            serial_number=_random_serial(),
            constraints={"ca": True},
        )
        return cls(own_key, _sign_certificate(own_key, body))

    def issue(
        self,
        common_name: str,
        public_key: Sm2PublicKey,
        not_before: dt.datetime,
        not_after: dt.datetime,
        is_ca: bool = False,
        serial_number: int | None = None,
        path_length: int | None = 0,
    ) -> Certificate:
        """Certify a key. ``ValueError`` for a serial number that is not positive, or an end before the beginning.

        ``path_length`` counts only with ``is_ca``: by default the new authority issues to leaves only.
        The serial number is random (126 bits) unless given; uniqueness of given ones is the caller's.
        """
        if not_before > not_after:
            raise ValueError("the certificate would end before it begins")
        if serial_number is not None and serial_number <= 0:
            raise ValueError("a serial number is positive")
        body = _certificate_body(
            subject=asn1.name(common_name),
            issuer=x509.Name.load(self.certificate.subject_name),
            public_key=public_key,
            issuer_identifier=self._identifier,
            validity=(not_before, not_after),
            serial_number=serial_number if serial_number is not None else _random_serial(),
            constraints={"ca": True, "path_len_constraint": path_length} if is_ca else {"ca": False},
        )
        return _sign_certificate(self._key, body)

    def issue_crl(
        self, revoked: Mapping[int, dt.datetime], this_update: dt.datetime, next_update: dt.datetime
    ) -> RevocationList:
        """The full list of serial numbers taken back, and since when. Its number is ``this_update`` in seconds.

        ``ValueError`` for a next update before this one.
        """
        if this_update > next_update:
            raise ValueError("the revocation list would end before it begins")
        body: dict[str, Any] = {
            "version": "v2",
            "signature": asn1.signature_algorithm(),
            "issuer": x509.Name.load(self.certificate.subject_name),
            "this_update": asn1.time(this_update),
            "next_update": asn1.time(next_update),
            "crl_extensions": [
                _extension("authority_key_identifier", {"key_identifier": self._identifier}),
                _extension("crl_number", core.Integer(int(this_update.timestamp()))),
            ],
        }
        if revoked:  # the field is absent, not empty, where nothing is revoked (RFC 5280, 5.1.2.6)
            body["revoked_certificates"] = [
                {"user_certificate": serial, "revocation_date": asn1.time(since)}
                for serial, since in sorted(revoked.items())
            ]
        signed = crl.TbsCertList(body)
        whole = crl.CertificateList(
            {
                "tbs_cert_list": signed,
                "signature_algorithm": asn1.signature_algorithm(),
                "signature": asn1.sign(self._key, signed.dump()),
            }
        )
        return RevocationList.from_der(whole.dump())

    def to_pem(self) -> str:
        """The private key (PKCS#8, not encrypted: keep it where only its owner reads) and the certificate."""
        return private_key.to_pem(self._key) + self.certificate.pem()

    @classmethod
    def from_pem(cls, text: str | bytes) -> CertificateAuthority:
        """Undo ``to_pem``. ``KeyInvalid`` or ``CertificateInvalid`` when a part is missing, malformed or foreign."""
        return cls(private_key.from_pem(text), Certificate.from_pem(text))

    @property
    def _identifier(self) -> bytes:
        return self.certificate.subject_key_identifier or asn1.key_identifier(self._key.public_key)

    def __repr__(self) -> str:
        """The name, nothing of the key."""
        return f"CertificateAuthority({self.certificate.subject!r})"


def _random_serial() -> int:
    """Positive, of fixed length, at least 64 unforeseeable bits (CA/Browser baseline), no leading zero byte."""
    return 1 << _SERIAL_BITS | secrets.randbits(_SERIAL_BITS)


def _certificate_body(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    public_key: Sm2PublicKey,
    issuer_identifier: bytes,
    validity: tuple[dt.datetime, dt.datetime],
    serial_number: int,
    constraints: dict[str, Any],
) -> x509.TbsCertificate:
    usage = _CA_USAGE if constraints["ca"] else _LEAF_USAGE
    return x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": serial_number,
            "signature": asn1.signature_algorithm(),
            "issuer": issuer,
            "validity": {"not_before": asn1.time(validity[0]), "not_after": asn1.time(validity[1])},
            "subject": subject,
            "subject_public_key_info": asn1.public_key_info(public_key),
            "extensions": [
                _extension("basic_constraints", constraints, critical=True),
                _extension("key_usage", usage, critical=True),
                _extension("key_identifier", asn1.key_identifier(public_key)),
                _extension("authority_key_identifier", {"key_identifier": issuer_identifier}),
            ],
        }
    )


def _extension(identifier: str, value: Any, *, critical: bool = False) -> dict[str, Any]:
    return {"extn_id": identifier, "critical": critical, "extn_value": value}


def _sign_certificate(key: Sm2PrivateKey, body: x509.TbsCertificate) -> Certificate:
    whole = x509.Certificate(
        {
            "tbs_certificate": body,
            "signature_algorithm": asn1.signature_algorithm(),
            "signature_value": asn1.sign(key, body.dump()),
        }
    )
    return Certificate.from_der(whole.dump())
