"""A certificate revocation list (RFC 5280): parsed once, immutable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from asn1crypto import crl

from terminal_sdk.crypto.errors import CertificateInvalid
from terminal_sdk.crypto.x509 import asn1

PEM_LABEL = "X509 CRL"
_NONE_KNOWN: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RevocationList:
    """The serial numbers an issuer took back. ``verify_chain`` checks its signature and its time."""

    der: bytes = field(repr=False)
    issuer: str
    this_update: dt.datetime
    """Aware, UTC."""
    next_update: dt.datetime
    """Aware, UTC; from this moment on the list is stale."""
    revoked: Mapping[int, dt.datetime] = field(repr=False, hash=False)
    """Serial number → since when."""
    issuer_name: bytes = field(repr=False)
    authority_key_identifier: bytes | None = field(repr=False)
    to_be_signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def from_der(cls, data: bytes) -> RevocationList:
        """Parse; ``CertificateInvalid`` (malformed) for anything but a full SM2-with-SM3 list with a next update."""
        with asn1.parsing("revocation list"):
            return _parse(bytes(data))

    @classmethod
    def from_pem(cls, text: str | bytes) -> RevocationList:
        """Parse one PEM block; ``CertificateInvalid`` (malformed) as above."""
        with asn1.parsing("revocation list"):
            return cls.from_der(asn1.single(PEM_LABEL, text))

    def pem(self) -> str:
        """PEM text."""
        return asn1.armor(PEM_LABEL, self.der)

    @property
    def revoked_serials(self) -> frozenset[int]:
        """The serial numbers on the list."""
        return frozenset(self.revoked)


def _parse(data: bytes) -> RevocationList:
    parsed: Any = asn1.load(crl.CertificateList, data)
    body = parsed["tbs_cert_list"]
    asn1.check_signature_algorithm(parsed["signature_algorithm"], body["signature"])
    extensions = asn1.extensions_of(body["crl_extensions"])
    asn1.check_extensions(extensions, _NONE_KNOWN, "revocation list")
    authority_identifier = asn1.extension_of(extensions, "authority_key_identifier")
    revocation_list = RevocationList(
        der=data,
        issuer=asn1.common_name_of(body["issuer"]),
        this_update=asn1.moment_of(body["this_update"]),
        next_update=asn1.moment_of(body["next_update"]),
        revoked=MappingProxyType(_entries(body["revoked_certificates"])),
        issuer_name=body["issuer"].dump(),
        authority_key_identifier=(
            authority_identifier["key_identifier"].native if authority_identifier is not None else None
        ),
        to_be_signed=body.dump(),
        signature=parsed["signature"].native,
    )
    if revocation_list.this_update > revocation_list.next_update:
        raise CertificateInvalid("malformed", "the revocation list ends before it begins")
    return revocation_list


def _entries(revoked: Any) -> dict[int, dt.datetime]:
    entries: dict[int, dt.datetime] = {}
    for entry in revoked if asn1.is_present(revoked) else ():
        asn1.check_extensions(asn1.extensions_of(entry["crl_entry_extensions"]), _NONE_KNOWN, "revocation list")
        entries[int(entry["user_certificate"].native)] = asn1.moment_of(entry["revocation_date"])
    return entries
