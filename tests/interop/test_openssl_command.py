"""Keys, requests, certificates and lists between us and the ``openssl`` command: each reads and judges the other's."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path

import pytest

from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    CertificateInvalid,
    KeyInvalid,
    RevocationList,
    SignatureInvalid,
    SigningRequest,
    Sm2PrivateKey,
    Sm2PublicKey,
    der,
    private_key_from_pem,
    private_key_to_pem,
    verify_chain,
)
from tests.interop.openssl import (
    IDENTITY,
    SUBORDINATE,
    OpensslAuthority,
    OpensslKey,
    OpensslRefused,
    check_request,
    make_key,
    make_request,
    openssl,
    public_key_file,
    said,
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


@pytest.fixture
def theirs(tmp_path: Path) -> OpensslAuthority:
    return OpensslAuthority(tmp_path / "authority", CA_NAME)


@pytest.fixture
def their_request(tmp_path: Path) -> Path:
    return make_request(make_key(tmp_path / "leaf.key"), "T0000009")


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def verify(folder: Path, leaf: Certificate, issuer: Certificate, *, at: dt.datetime = START) -> None:
    """Have the command verify a certificate right under its issuer, which is taken as given."""
    leaf_file, issuer_file = write(folder / "v-leaf.pem", leaf.pem()), write(folder / "v-issuer.pem", issuer.pem())
    moment = ("-attime", str(int(at.timestamp())))
    trusted = ("-vfyopt", IDENTITY, "-partial_chain", "-trusted", issuer_file)
    assert said("verify", *moment, *trusted, leaf_file) == f"{leaf_file}: OK\n"


def signature_verified(folder: Path, key: Sm2PublicKey, signed: bytes, signature: bytes) -> None:
    """Have the command verify a bare signature (DER). Its ``crl`` and ``verify`` cannot be told a list's identity."""
    holder = CertificateAuthority.create_root("Holder", START, END).issue("Holder", key, START, END)
    key_file = write(folder / "s.pub", said("x509", "-in", write(folder / "s.pem", holder.pem()), "-noout", "-pubkey"))
    (folder / "s.sig").write_bytes(signature)
    openssl("dgst", "-sm3", "-sigopt", IDENTITY, "-verify", key_file, "-signature", folder / "s.sig", given=signed)


def described(certificate: Certificate, folder: Path) -> dict[str, str]:
    """Names, serial, times, extensions of a certificate as the command shows them."""
    path = write(folder / "described.pem", certificate.pem())
    options = ("-noout", "-serial", "-startdate", "-enddate", "-dateopt", "iso_8601", "-subject", "-issuer")
    lines = said("x509", "-in", path, *options, "-nameopt", "utf8", "-ext", "basicConstraints,keyUsage").splitlines()
    shown = dict(line.split("=", 1) for line in lines if "=" in line)
    for heading, value in pairwise(lines):
        if heading.startswith("X509v3"):
            shown[heading.removeprefix("X509v3 ").strip()] = value.strip()
    return shown


def altered(data: bytes, old: bytes, new: bytes) -> bytes:
    """The same bytes with one piece in another shape of the same length; the signature is left as it was."""
    assert data.count(old) >= 1
    assert len(old) == len(new)
    return data.replace(old, new)


# what we make, there


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
    verify(tmp_path, root.certificate, root.certificate)
    verify(tmp_path, middle, root.certificate)
    verify(tmp_path, card, middle)
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
        verify(tmp_path, leaf, issuer)
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
    signature_verified(tmp_path, key, entries.to_be_signed, entries.signature)
    with pytest.raises(OpensslRefused):
        signature_verified(tmp_path, key, entries.to_be_signed + b"0", entries.signature)


def test_an_empty_revocation_list_is_read_there(root: CertificateAuthority, tmp_path: Path) -> None:
    path = write(tmp_path / "list.pem", root.issue_crl({}, START, END).pem())
    assert "No Revoked Certificates." in said("crl", "-in", path, "-noout", "-text")


def test_our_stored_key_is_read_there(tmp_path: Path) -> None:
    key = Sm2PrivateKey.generate()
    path = write(tmp_path / "key.pem", private_key_to_pem(key))
    assert "Key is valid" in said("pkey", "-in", path, "-noout", "-check")
    assert openssl("pkey", "-in", path, "-pubout", "-outform", "DER")[-65:] == key.public_key.to_bytes()


# what the command makes, here


def test_their_key_signs_and_opens(tmp_path: Path) -> None:
    key_file = make_key(tmp_path / "key.pem")
    theirs, ours = OpensslKey(key_file), private_key_from_pem(key_file.read_text("ascii"))
    for message in (b"", b"message", bytes(100_000)):
        ours.public_key.verify(message, theirs.sign(message))
        signature_verified(tmp_path, ours.public_key, message, der.signature_to_der(ours.sign(message)))
    with pytest.raises(SignatureInvalid):
        ours.public_key.verify(b"message", theirs.sign(b"another"))
    assert theirs.decrypt(ours.public_key.encrypt(b"working keys")) == b"working keys"
    sealed = openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", public_key_file(key_file), given=b"working keys")
    assert ours.decrypt(der.ciphertext_from_der(sealed)) == b"working keys"


@pytest.mark.parametrize("form", ["pkcs8 with a password", "traditional", "another curve"])
def test_their_keys_in_other_forms_are_refused_here(tmp_path: Path, form: str) -> None:
    key_file = make_key(tmp_path / "key.pem")
    match form:
        case "traditional":
            text = said("ec", "-in", key_file)
        case "another curve":
            text = said("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        case _:
            text = said("pkcs8", "-topk8", "-in", key_file, "-passout", "pass:secret")
    assert "PRIVATE KEY" in text
    with pytest.raises(KeyInvalid, match="PKCS#8"):
        private_key_from_pem(text)


def test_their_request_is_verified_here(their_request: Path) -> None:
    request = SigningRequest.from_pem(their_request.read_text("ascii"))
    request.verify()
    assert request.common_name == "T0000009"
    changed = SigningRequest.from_der(altered(request.der, b"T0000009", b"T0000008"))
    with pytest.raises(CertificateInvalid, match="signature"):
        changed.verify()


def test_their_request_with_extensions_is_verified_here(tmp_path: Path) -> None:
    path = make_request(make_key(tmp_path / "leaf.key"), "T0000009", "-addext", "subjectAltName=DNS:till.example")
    request = SigningRequest.from_pem(path.read_text("ascii"))
    request.verify()
    assert request.common_name == "T0000009"


def test_their_chain_is_verified_here_and_says_the_same(
    theirs: OpensslAuthority, their_request: Path, tmp_path: Path
) -> None:
    middle_key = make_key(tmp_path / "middle.key")
    middle_file = theirs.certify(make_request(middle_key, "区县 CA"), SUBORDINATE, "-set_serial", hex(SERIAL))
    middle = Certificate.from_pem(middle_file.read_text("ascii"))
    leaf = CertificateAuthority(private_key_from_pem(middle_key.read_text("ascii")), middle).issue(
        "T0000009", SigningRequest.from_pem(their_request.read_text("ascii")).public_key, middle.not_before, END
    )
    verify_chain(leaf, intermediates=[middle], roots=[theirs.certificate], at=middle.not_before)
    verify(tmp_path, leaf, middle, at=middle.not_before)
    shown = described(middle, tmp_path)
    assert (middle.is_ca, middle.path_length, middle.key_usage) == (True, 0, {"key_cert_sign", "crl_sign"})
    assert (shown["serial"], shown["subject"], shown["issuer"]) == (
        f"{middle.serial_number:X}",
        f"CN={middle.subject}",
        f"CN={middle.issuer}",
    )
    assert (middle.serial_number, middle.subject, middle.issuer) == (SERIAL, "区县 CA", CA_NAME)
    assert (shown["notBefore"], shown["notAfter"]) == (
        f"{middle.not_before:%Y-%m-%d %H:%M:%SZ}",
        f"{middle.not_after:%Y-%m-%d %H:%M:%SZ}",
    )


def test_their_leaf_and_their_list(theirs: OpensslAuthority, their_request: Path) -> None:
    path = theirs.certify(their_request)
    leaf = Certificate.from_pem(path.read_text("ascii"))
    now, roots = leaf.not_before, [theirs.certificate]
    assert (leaf.is_ca, leaf.key_usage) == (False, {"digital_signature", "non_repudiation", "key_encipherment"})
    before = theirs.revocation_list()
    assert before.revoked == {}
    verify_chain(leaf, roots=roots, at=max(now, before.this_update), revocations=[before])
    theirs.revoke(path)
    after = theirs.revocation_list()
    assert after.revoked_serials == {leaf.serial_number}
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(leaf, roots=roots, at=after.this_update + SECOND, revocations=[after])
    assert caught.value.reason == "revoked"
    forged = RevocationList.from_der(after.der[:-1] + bytes([after.der[-1] ^ 1]))
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(leaf, roots=roots, at=after.this_update, revocations=[forged])
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize("damage", ["name", "identity"])
def test_their_certificate_with_a_wrong_signature_is_refused_by_both(
    theirs: OpensslAuthority, their_request: Path, tmp_path: Path, damage: str
) -> None:
    """``identity``: signed under another identity than the default one, as whoever forgets to state it gets."""
    identity = "distid:" if damage == "identity" else IDENTITY
    leaf = Certificate.from_pem(theirs.certify(their_request, identity=identity).read_text("ascii"))
    if damage == "name":
        leaf = Certificate.from_der(altered(leaf.der, b"T0000009", b"T0000008"))
    with pytest.raises(OpensslRefused, match="certificate signature failure"):
        verify(tmp_path, leaf, theirs.certificate, at=leaf.not_before)
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(leaf, roots=[theirs.certificate], at=leaf.not_before)
    assert caught.value.reason == "bad_signature"


def test_a_certificate_of_another_algorithm_is_refused_here(tmp_path: Path) -> None:
    key_file = tmp_path / "p256.key"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key_file)
    text = said("req", "-x509", "-new", "-key", key_file, "-days", "2", "-subj", "/CN=Their Root")
    with pytest.raises(CertificateInvalid) as caught:
        Certificate.from_pem(text)
    assert caught.value.reason == "malformed"
