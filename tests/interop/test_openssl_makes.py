"""What the ``openssl`` command makes is read and verified here: keys, requests, certificates, lists."""

from __future__ import annotations

import datetime as dt
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
    der,
    private_key_from_pem,
    verify_chain,
)
from tests.interop.openssl import (
    IDENTITY,
    SUBORDINATE,
    OpensslAuthority,
    OpensslKey,
    OpensslRefused,
    altered,
    check_signature,
    described,
    make_key,
    make_request,
    openssl,
    public_key_file,
    said,
    verify,
)

pytestmark = pytest.mark.usefixtures("openssl_command")

END = dt.datetime(2056, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
SERIAL = 0x7F0000000000000000000000ABCDEF01
CA_NAME = "上海市人社局 Card CA"


@pytest.fixture
def theirs(tmp_path: Path) -> OpensslAuthority:
    return OpensslAuthority(tmp_path / "authority", CA_NAME)


@pytest.fixture
def their_request(tmp_path: Path) -> Path:
    return make_request(make_key(tmp_path / "leaf.key"), "T0000009")


def test_their_key_signs_and_opens(tmp_path: Path) -> None:
    key_file = make_key(tmp_path / "key.pem")
    theirs, ours = OpensslKey(key_file), private_key_from_pem(key_file.read_text("ascii"))
    for message in (b"", b"message", bytes(100_000)):
        ours.public_key.verify(message, theirs.sign(message))
        check_signature(tmp_path, ours.public_key, message, der.signature_to_der(ours.sign(message)))
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
    assert (middle.is_ca, middle.path_length, middle.key_usage) == (True, 0, frozenset({"key_cert_sign", "crl_sign"}))
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
    assert (leaf.is_ca, leaf.key_usage) == (
        False,
        frozenset({"digital_signature", "non_repudiation", "key_encipherment"}),
    )
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
