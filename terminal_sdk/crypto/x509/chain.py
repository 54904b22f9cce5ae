"""The check of a certificate: a path to a trusted root, valid now, by authorities that may issue, nothing revoked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from terminal_sdk.crypto.errors import CertificateInvalid
from terminal_sdk.crypto.x509 import asn1
from terminal_sdk.crypto.x509.certificate import Certificate
from terminal_sdk.crypto.x509.revocation import RevocationList

AUTHORITIES_MAX = 8
"""The longest path that is followed, so that a heap of certificates cannot keep the check busy."""


def verify_chain(
    leaf: Certificate,
    *,
    intermediates: Sequence[Certificate] = (),
    roots: Sequence[Certificate],
    at: dt.datetime,
    revocations: Sequence[RevocationList] = (),
) -> None:
    """Return when ``leaf`` may be trusted at the moment ``at`` (aware); ``CertificateInvalid`` otherwise.

    Checked on the way up: name and key identifier of the issuer, its signature, its CA flag, key usage and path
    length, every certificate's times (both ends inclusive) and, where ``revocations`` has a list of the issuer,
    that the list is the issuer's own, is current, and does not name the certificate. Without a list of an issuer
    revocation is not checked for what it issued: the caller decides which lists must exist. A root is trusted as
    given; only its times are checked.
    """
    if at.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    current, below = leaf, 0
    while True:
        _check_time(current, at)
        if current in roots:
            return
        if below > AUTHORITIES_MAX:
            raise CertificateInvalid("untrusted", "the path is too long")
        issuer = _issuer_of(current, sorted([*roots, *intermediates], key=lambda known: not _is_valid(known, at)))
        _check_authority(issuer, below)
        _check_revocation(current, issuer, revocations, at)
        current, below = issuer, below + 1


def _is_valid(certificate: Certificate, at: dt.datetime) -> bool:
    return certificate.not_before <= at <= certificate.not_after


def _check_time(certificate: Certificate, at: dt.datetime) -> None:
    if at < certificate.not_before:
        raise CertificateInvalid("not_yet_valid", "the certificate, or one above it, is not valid yet")
    if at > certificate.not_after:
        raise CertificateInvalid("expired", "the certificate, or one above it, has expired")


def _issuer_of(certificate: Certificate, candidates: Sequence[Certificate]) -> Certificate:
    """The first candidate of the right name whose key made the signature.

    Roots come before intermediates, and valid ones before others: an authority renewed under the same name and key
    has two certificates.
    """
    named = [candidate for candidate in candidates if _names_match(certificate, candidate)]
    if not named:
        raise CertificateInvalid("untrusted", "no known issuer of the certificate")
    refusal: CertificateInvalid | None = None
    for candidate in named:
        try:
            asn1.check_signature(candidate.public_key, certificate.to_be_signed, certificate.signature, "certificate")
        except CertificateInvalid as error:
            refusal = error
        else:
            return candidate
    raise refusal or CertificateInvalid("untrusted", "no known issuer of the certificate")


def _names_match(certificate: Certificate, issuer: Certificate) -> bool:
    if certificate.issuer_name != issuer.subject_name:
        return False
    stated, actual = certificate.authority_key_identifier, issuer.subject_key_identifier
    return stated is None or actual is None or stated == actual


def _check_authority(issuer: Certificate, authorities_below: int) -> None:
    if not issuer.may_sign_certificates:
        raise CertificateInvalid("not_a_ca", "the issuer is not a certificate authority")
    if issuer.path_length is not None and authorities_below > issuer.path_length:
        raise CertificateInvalid("not_a_ca", "the issuer may not have so many authorities below it")


def _check_revocation(
    certificate: Certificate, issuer: Certificate, revocations: Sequence[RevocationList], at: dt.datetime
) -> None:
    lists = [entry for entry in revocations if _is_of(entry, issuer)]
    for entry in lists:
        if not issuer.may_sign_crls:
            raise CertificateInvalid("not_a_ca", "the issuer may not sign revocation lists")
        asn1.check_signature(issuer.public_key, entry.to_be_signed, entry.signature, "revocation list")
        since = entry.revoked.get(certificate.serial_number)
        if since is not None and since <= at:  # an old list does not make a revoked certificate good again
            raise CertificateInvalid("revoked", "the certificate, or one above it, was revoked")
    if lists and not any(entry.this_update <= at < entry.next_update for entry in lists):
        raise CertificateInvalid("stale_crl", "the issuer's revocation list is not current")


def _is_of(entry: RevocationList, issuer: Certificate) -> bool:
    if entry.issuer_name != issuer.subject_name:
        return False
    stated, actual = entry.authority_key_identifier, issuer.subject_key_identifier
    return stated is None or actual is None or stated == actual
