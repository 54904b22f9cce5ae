"""The ``openssl`` command reads and verifies what we make: certificates, requests, lists, keys."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    CertificateInvalid,
    SigningRequest,
    Sm2PrivateKey,
    private_key_to_pem,
    verify_chain,
)
from tests.interop.openssl import (
    OpensslRefused,
    altered,
    check_request,
    check_signature,
    described,
    openssl,
    said,
    verify,
    write,
)

pytestmark = pytest.mark.usefixtures("openssl_command")

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2056, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
SERIAL = 0x7F0000000000000000000000ABCDEF01
CA_NAME = "上海市人社局 Card CA"


@pytest.fixture
def root() -> CertificateAuthority:
    return CertificateAuthority.create_root(CA_NAME, START, END)


@pytest.mark.parametrize(
    ("role", "constraints", "usage"),
    [
        ("root", "CA:TRUE", "Certificate Sign, CRL Sign"),
        ("authority", "CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign"),
        ("leaf", "CA:FALSE", "Digital Signature, Non Repudiation, Key Encipherment"),
    ],
)
def test_our_certificate_says_there_what_it_says_here(
    root: CertificateAuthority, tmp_path: Path, role: str, constraints: str, usage: str
) -> None:
    certificate = root.certificate
    if role != "root":
        key = Sm2PrivateKey.generate().public_key
        certificate = root.issue("A12345678", key, START, END, is_ca=role == "authority", serial_number=SERIAL)
    assert described(certificate, tmp_path) == {
        "serial": f"{certificate.serial_number:X}",
        "notBefore": "2026-01-01 00:00:00Z",
        "notAfter": "2056-01-01 00:00:00Z",  # beyond UTCTime
        "subject": f"CN={certificate.subject}",
        "issuer": f"CN={CA_NAME}",
        "Basic Constraints: critical": constraints,
        "Key Usage: critical": usage,
    }
    text = said("x509", "-in", write(tmp_path / "c.pem", certificate.pem()), "-noout", "-text")
    assert text.count("Signature Algorithm: SM2-with-SM3") == 2
    assert "ASN1 OID: SM2" in text


def test_our_chain_is_verified_there_link_by_link(root: CertificateAuthority, tmp_path: Path) -> None:
    key = Sm2PrivateKey.generate()
    middle = root.issue("District CA", key.public_key, START, END, is_ca=True)
    card = CertificateAuthority(key, middle).issue("A12345678", Sm2PrivateKey.generate().public_key, START, END)
    verify(tmp_path, root.certificate, root.certificate, at=START)
    verify(tmp_path, middle, root.certificate, at=START)
    verify(tmp_path, card, middle, at=START)
    verify_chain(card, intermediates=[middle], roots=[root.certificate], at=START)


@pytest.mark.parametrize("damage", ["name", "serial", "signature", "issuer's key"])
def test_our_certificate_with_a_wrong_signature_is_refused_by_both(
    root: CertificateAuthority, tmp_path: Path, damage: str
) -> None:
    key = Sm2PrivateKey.generate().public_key
    leaf = root.issue("T0000001", key, START, END, serial_number=SERIAL)
    issuer = root.certificate
    match damage:
        case "name":
            leaf = Certificate.from_der(altered(leaf.der, b"T0000001", b"T0000002"))
        case "serial":
            wrong = SERIAL + 1
            leaf = Certificate.from_der(altered(leaf.der, SERIAL.to_bytes(16, "big"), wrong.to_bytes(16, "big")))
        case "signature":
            leaf = Certificate.from_der(leaf.der[:-1] + bytes([leaf.der[-1] ^ 1]))
        case _:
            # the same name and key identifier as our root, but another key
            issuer = _same_name_another_key(root)
    with pytest.raises(OpensslRefused, match="certificate signature failure"):
        verify(tmp_path, leaf, issuer, at=START)
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(leaf, roots=[issuer], at=START)
    assert caught.value.reason == "bad_signature"


def _same_name_another_key(root: CertificateAuthority) -> Certificate:
    other = CertificateAuthority.create_root(CA_NAME, START, END)
    own, foreign = root.certificate.subject_key_identifier, other.certificate.subject_key_identifier
    assert own is not None
    assert foreign is not None
    return Certificate.from_der(altered(other.certificate.der, foreign, own))


@pytest.mark.parametrize(
    ("at", "here", "there"),
    [
        (START - SECOND, "not_yet_valid", "certificate is not yet valid"),
        (START, "", ""),
        (END - SECOND, "", ""),
        # RFC 5280, 4.1.2.5: the period includes its end. Not every release of the command says so: it is not asked.
        (END, "", None),
        (END + SECOND, "expired", "certificate has expired"),
    ],
)
def test_the_times_of_a_certificate(
    root: CertificateAuthority, tmp_path: Path, at: dt.datetime, here: str, there: str | None
) -> None:
    early, late = START - dt.timedelta(days=1), END + dt.timedelta(days=1)
    longer = CertificateAuthority.create_root(CA_NAME, early, late)
    leaf = longer.issue("T0000001", Sm2PrivateKey.generate().public_key, START, END)
    if here:
        with pytest.raises(CertificateInvalid) as caught:
            verify_chain(leaf, roots=[longer.certificate], at=at)
        assert caught.value.reason == here
    else:
        verify_chain(leaf, roots=[longer.certificate], at=at)
    if there:
        with pytest.raises(OpensslRefused, match=there):
            verify(tmp_path, leaf, longer.certificate, at=at)
    elif there is not None:
        verify(tmp_path, leaf, longer.certificate, at=at)


def test_our_request_is_verified_there(tmp_path: Path) -> None:
    request = SigningRequest.create(Sm2PrivateKey.generate(), "T0000001")
    check_request(write(tmp_path / "request.pem", request.pem()))
    changed = SigningRequest.from_der(altered(request.der, b"T0000001", b"T0000002"))
    with pytest.raises(OpensslRefused, match="verify failure"):
        check_request(write(tmp_path / "changed.pem", changed.pem()))
    with pytest.raises(CertificateInvalid, match="signature"):
        changed.verify()


def test_our_revocation_list_is_read_and_verified_there(root: CertificateAuthority, tmp_path: Path) -> None:
    entries = root.issue_crl({0xABCDEF: START, SERIAL: START + SECOND}, START, END)
    shown = said("crl", "-in", write(tmp_path / "list.pem", entries.pem()), "-noout", "-text", "-nameopt", "utf8")
    for expected in (
        "Version 2",
        "Signature Algorithm: SM2-with-SM3",
        f"Issuer: CN={CA_NAME}",
        "Last Update: Jan  1 00:00:00 2026 GMT",
        "Next Update: Jan  1 00:00:00 2056 GMT",
        "Serial Number: ABCDEF\n        Revocation Date: Jan  1 00:00:00 2026 GMT",
        f"Serial Number: {SERIAL:X}\n        Revocation Date: Jan  1 00:00:01 2026 GMT",
        f"X509v3 CRL Number: \n                {int(START.timestamp())}",
    ):
        assert expected in shown
    key = root.certificate.public_key
    check_signature(tmp_path, key, entries.to_be_signed, entries.signature)
    with pytest.raises(OpensslRefused):
        check_signature(tmp_path, key, entries.to_be_signed + b"0", entries.signature)


def test_an_empty_revocation_list_is_read_there(root: CertificateAuthority, tmp_path: Path) -> None:
    path = write(tmp_path / "list.pem", root.issue_crl({}, START, END).pem())
    assert "No Revoked Certificates." in said("crl", "-in", path, "-noout", "-text")


def test_our_stored_key_is_read_there(tmp_path: Path) -> None:
    key = Sm2PrivateKey.generate()
    path = write(tmp_path / "key.pem", private_key_to_pem(key))
    assert "Key is valid" in said("pkey", "-in", path, "-noout", "-check")
    assert openssl("pkey", "-in", path, "-pubout", "-outform", "DER")[-65:] == key.public_key.to_bytes()
