"""The check of a chain: the good path, and each way in which a certificate is not to be trusted."""

from __future__ import annotations

import datetime as dt

import pytest

from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    CertificateInvalid,
    RevocationList,
    Sm2PrivateKey,
    der,
    verify_chain,
)
from terminal_sdk.crypto.x509 import authority

pytestmark = pytest.mark.usefixtures("library")

DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)
NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
START, END = NOW - 100 * DAY, NOW + 100 * DAY


def subordinate(
    parent: CertificateAuthority, name: str = "Card Issuer", path_length: int | None = 0
) -> CertificateAuthority:
    key = Sm2PrivateKey.generate()
    certificate = parent.issue(name, key.public_key, START, END, is_ca=True, path_length=path_length)
    return CertificateAuthority(key, certificate)


@pytest.fixture
def root() -> CertificateAuthority:
    return CertificateAuthority.create_root("Root", START, END)


@pytest.fixture
def issuer(root: CertificateAuthority) -> CertificateAuthority:
    return subordinate(root)


@pytest.fixture
def card_key() -> Sm2PrivateKey:
    return Sm2PrivateKey.generate()


@pytest.fixture
def leaf(issuer: CertificateAuthority, card_key: Sm2PrivateKey) -> Certificate:
    return issuer.issue("Card", card_key.public_key, START, END)


def reason(
    leaf: Certificate,
    root: CertificateAuthority,
    *issuers: CertificateAuthority,
    at: dt.datetime = NOW,
    revocations: tuple[RevocationList, ...] = (),
) -> str:
    """Why the chain is refused."""
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(
            leaf,
            intermediates=[one.certificate for one in issuers],
            roots=[root.certificate],
            at=at,
            revocations=revocations,
        )
    return caught.value.reason


def test_two_steps(root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate) -> None:
    verify_chain(leaf, intermediates=[issuer.certificate], roots=[root.certificate], at=NOW)


def test_one_step(root: CertificateAuthority, card_key: Sm2PrivateKey) -> None:
    verify_chain(root.issue("Terminal", card_key.public_key, START, END), roots=[root.certificate], at=NOW)


def test_both_ends_of_the_validity_count(root: CertificateAuthority, card_key: Sm2PrivateKey) -> None:
    certificate = root.issue("Terminal", card_key.public_key, NOW, NOW + DAY)
    verify_chain(certificate, roots=[root.certificate], at=NOW)
    verify_chain(certificate, roots=[root.certificate], at=NOW + DAY)
    assert reason(certificate, root, at=NOW - SECOND) == "not_yet_valid"
    assert reason(certificate, root, at=NOW + DAY + SECOND) == "expired"


def test_issuer_expired(root: CertificateAuthority, issuer: CertificateAuthority, card_key: Sm2PrivateKey) -> None:
    certificate = issuer.issue("Card", card_key.public_key, START, END + 10 * DAY)
    assert reason(certificate, root, issuer, at=END + DAY) == "expired"


def test_root_not_yet_valid(card_key: Sm2PrivateKey) -> None:
    root = CertificateAuthority.create_root("Root", NOW + DAY, END)
    assert reason(root.issue("Card", card_key.public_key, START, END), root) == "not_yet_valid"


def test_a_moment_without_zone_is_refused(root: CertificateAuthority, leaf: Certificate) -> None:
    with pytest.raises(ValueError, match="time zone"):
        verify_chain(leaf, roots=[root.certificate], at=NOW.replace(tzinfo=None))


def test_another_root(issuer: CertificateAuthority, leaf: Certificate) -> None:
    other = CertificateAuthority.create_root("Other Root", START, END)
    assert reason(leaf, other, issuer) == "untrusted"


def test_no_roots(issuer: CertificateAuthority, leaf: Certificate) -> None:
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(leaf, intermediates=[issuer.certificate], roots=[], at=NOW)
    assert caught.value.reason == "untrusted"


def test_missing_intermediate(root: CertificateAuthority, leaf: Certificate) -> None:
    assert reason(leaf, root) == "untrusted"


def test_a_root_of_the_same_name_but_another_key(leaf: Certificate, issuer: CertificateAuthority) -> None:
    assert reason(leaf, CertificateAuthority.create_root("Root", START, END), issuer) == "untrusted"


def test_self_signed_card(root: CertificateAuthority, card_key: Sm2PrivateKey) -> None:
    own = CertificateAuthority.create_root("Card", START, END, card_key)
    assert reason(own.certificate, root) == "untrusted"


def test_authorities_that_certify_each_other_lead_nowhere(root: CertificateAuthority) -> None:
    one = CertificateAuthority.create_root("One", START, END)
    two = CertificateAuthority.create_root("Two", START, END)
    one_by_two = CertificateAuthority(
        one._key, two.issue("One", one._key.public_key, START, END, is_ca=True, path_length=None)
    )
    two_by_one = CertificateAuthority(
        two._key, one.issue("Two", two._key.public_key, START, END, is_ca=True, path_length=None)
    )
    leaf = one.issue("Card", Sm2PrivateKey.generate().public_key, START, END)
    assert reason(leaf, root, one_by_two, two_by_one) == "untrusted"


def test_issued_by_a_leaf(
    root: CertificateAuthority, issuer: CertificateAuthority, card_key: Sm2PrivateKey, leaf: Certificate
) -> None:
    impostor = object.__new__(CertificateAuthority)  # a card's key does what only an authority's may
    impostor._key, impostor.certificate = card_key, leaf
    forged = impostor.issue("Another Card", Sm2PrivateKey.generate().public_key, START, END)
    with pytest.raises(CertificateInvalid) as caught:
        verify_chain(forged, intermediates=[leaf, issuer.certificate], roots=[root.certificate], at=NOW)
    assert caught.value.reason == "not_a_ca"


def test_ca_flag_without_the_right_to_sign_certificates(
    root: CertificateAuthority, card_key: Sm2PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_CA_USAGE", {"crl_sign"})
        certificate = root.issue("Card Issuer", card_key.public_key, START, END, is_ca=True)
    assert certificate.is_ca
    impostor = object.__new__(CertificateAuthority)
    impostor._key, impostor.certificate = card_key, certificate
    leaf = impostor.issue("Card", Sm2PrivateKey.generate().public_key, START, END)
    assert reason(leaf, root, impostor) == "not_a_ca"


def test_right_to_sign_certificates_without_the_ca_flag(
    root: CertificateAuthority, card_key: Sm2PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_LEAF_USAGE", {"key_cert_sign"})
        certificate = root.issue("Card Issuer", card_key.public_key, START, END)
    impostor = object.__new__(CertificateAuthority)
    impostor._key, impostor.certificate = card_key, certificate
    leaf = impostor.issue("Card", Sm2PrivateKey.generate().public_key, START, END)
    assert reason(leaf, root, impostor) == "not_a_ca"


def test_path_length(root: CertificateAuthority, issuer: CertificateAuthority) -> None:
    below = subordinate(issuer, "Branch")  # the issuer may have none below it
    leaf = below.issue("Card", Sm2PrivateKey.generate().public_key, START, END)
    assert reason(leaf, root, issuer, below) == "not_a_ca"


def test_path_length_that_allows_one(root: CertificateAuthority) -> None:
    issuer = subordinate(root, path_length=1)
    below = subordinate(issuer, "Branch")
    leaf = below.issue("Card", Sm2PrivateKey.generate().public_key, START, END)
    verify_chain(leaf, intermediates=[below.certificate, issuer.certificate], roots=[root.certificate], at=NOW)


@pytest.mark.parametrize("what", ["subject", "key", "signature", "validity"])
def test_altered_byte(root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate, what: str) -> None:
    encoded = leaf.der
    replacement = Sm2PrivateKey.generate().public_key.to_bytes()
    altered = {
        "subject": encoded.replace(b"Card", b"Kard", 2).replace(b"Kard Issuer", b"Card Issuer"),
        "key": encoded.replace(leaf.public_key.to_bytes(), replacement),
        "signature": encoded[:-1] + bytes((encoded[-1] ^ 1,)),
        "validity": encoded.replace(f"{END:%y%m%d%H%M%SZ}".encode(), f"{END + 300 * DAY:%y%m%d%H%M%SZ}".encode()),
    }[what]
    assert altered != encoded
    assert reason(Certificate.from_der(altered), root, issuer) == "bad_signature"


def test_signature_under_another_identity(root: CertificateAuthority, card_key: Sm2PrivateKey) -> None:
    leaf = root.issue("Card", card_key.public_key, START, END)
    other = b""
    while len(other) != len(leaf.signature):  # DER lengths vary by a byte or two; the ones around it must stay right
        other = der.signature_to_der(root._key.sign(leaf.to_be_signed, identity=b"another"))
    assert reason(Certificate.from_der(leaf.der.replace(leaf.signature, other)), root) == "bad_signature"


def test_renewed_authority_under_the_same_name_and_key(card_key: Sm2PrivateKey) -> None:
    old = CertificateAuthority.create_root("Root", START, NOW - DAY)
    new = CertificateAuthority.create_root("Root", START, END, old._key)
    leaf = old.issue("Card", card_key.public_key, START, END)
    verify_chain(leaf, roots=[old.certificate, new.certificate], at=NOW)


def test_revoked(root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate) -> None:
    taken_back = issuer.issue_crl({leaf.serial_number: NOW - DAY}, NOW - DAY, NOW + DAY)
    assert reason(leaf, root, issuer, revocations=(taken_back,)) == "revoked"


def test_not_revoked(root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate) -> None:
    lists = [
        issuer.issue_crl({leaf.serial_number + 1: NOW - DAY}, NOW - DAY, NOW + DAY),
        root.issue_crl({}, NOW - DAY, NOW + DAY),
    ]
    verify_chain(leaf, intermediates=[issuer.certificate], roots=[root.certificate], at=NOW, revocations=lists)


def test_revoked_later_than_the_moment(
    root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate
) -> None:
    entry = issuer.issue_crl({leaf.serial_number: NOW + SECOND}, NOW - DAY, NOW + DAY)
    verify_chain(leaf, intermediates=[issuer.certificate], roots=[root.certificate], at=NOW, revocations=[entry])
    assert reason(leaf, root, issuer, at=NOW + SECOND, revocations=(entry,)) == "revoked"


def test_revoked_issuer(root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate) -> None:
    taken_back = root.issue_crl({issuer.certificate.serial_number: NOW - DAY}, NOW - DAY, NOW + DAY)
    assert reason(leaf, root, issuer, revocations=(taken_back,)) == "revoked"


def test_serial_number_on_the_list_of_another_issuer(
    root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate
) -> None:
    entry = root.issue_crl({leaf.serial_number: NOW - DAY}, NOW - DAY, NOW + DAY)
    verify_chain(leaf, intermediates=[issuer.certificate], roots=[root.certificate], at=NOW, revocations=[entry])


def test_list_of_an_authority_with_the_same_key_but_another_name(
    root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate
) -> None:
    other = CertificateAuthority.create_root("Other", START, END, issuer._key)
    entry = other.issue_crl({leaf.serial_number: NOW - DAY}, NOW - DAY, NOW + DAY)
    verify_chain(leaf, intermediates=[issuer.certificate], roots=[root.certificate], at=NOW, revocations=[entry])


def test_list_of_an_issuer_that_may_not_sign_lists(
    root: CertificateAuthority, card_key: Sm2PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_CA_USAGE", {"key_cert_sign"})
        issuer = subordinate(root)
    leaf = issuer.issue("Card", card_key.public_key, START, END)
    assert reason(leaf, root, issuer, revocations=(issuer.issue_crl({}, NOW - DAY, NOW + DAY),)) == "not_a_ca"


@pytest.mark.parametrize(
    ("this_update", "next_update"),
    [(NOW - 2 * DAY, NOW - DAY), (NOW - DAY, NOW), (NOW + SECOND, NOW + DAY)],
    ids=["passed", "ends now", "begins later"],
)
def test_list_that_is_not_current(
    root: CertificateAuthority,
    issuer: CertificateAuthority,
    leaf: Certificate,
    this_update: dt.datetime,
    next_update: dt.datetime,
) -> None:
    entry = issuer.issue_crl({}, this_update, next_update)
    assert reason(leaf, root, issuer, revocations=(entry,)) == "stale_crl"
    current = issuer.issue_crl({}, NOW - DAY, NOW + DAY)
    verify_chain(
        leaf, intermediates=[issuer.certificate], roots=[root.certificate], at=NOW, revocations=[entry, current]
    )


def test_a_stale_list_still_revokes(
    root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate
) -> None:
    stale = issuer.issue_crl({leaf.serial_number: NOW - 3 * DAY}, NOW - 3 * DAY, NOW - 2 * DAY)
    assert reason(leaf, root, issuer, revocations=(stale,)) == "revoked"


def test_forged_list(root: CertificateAuthority, issuer: CertificateAuthority, leaf: Certificate) -> None:
    genuine = issuer.issue_crl({leaf.serial_number: NOW - DAY}, NOW - DAY, NOW + DAY)
    digits = f"{leaf.serial_number:032x}"
    forged = RevocationList.from_der(genuine.der.replace(bytes.fromhex(digits), bytes.fromhex(digits)[:-1] + b"\0"))
    assert leaf.serial_number not in forged.revoked_serials
    assert reason(leaf, root, issuer, revocations=(forged,)) == "bad_signature"
