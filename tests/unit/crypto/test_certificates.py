"""Certificates, requests and stored authorities: what is written is read back, and nothing malformed is read."""

from __future__ import annotations

import datetime as dt

import pytest
from asn1crypto import pem, x509
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    CertificateInvalid,
    KeyInvalid,
    RevocationList,
    SigningRequest,
    Sm2PrivateKey,
    private_key_from_pem,
    private_key_to_pem,
    sm3,
)

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2056, 1, 1, tzinfo=dt.UTC)
KEY = Sm2PrivateKey.generate()
ROOT = CertificateAuthority.create_root("Card Root", START, END)
LEAF = ROOT.issue("社保卡 A12345678", KEY.public_key, START, END)


def test_fields_of_a_leaf() -> None:
    read = Certificate.from_der(LEAF.der)
    assert read.subject == "社保卡 A12345678"
    assert read.issuer == "Card Root"
    assert read.public_key == KEY.public_key
    assert (read.not_before, read.not_after) == (START, END)
    assert read.not_after.utcoffset() == dt.timedelta(0)
    assert not read.is_ca
    assert read.key_usage == frozenset({"digital_signature", "non_repudiation", "key_encipherment"})
    assert read.fingerprint == sm3(LEAF.der).hex()
    assert read.authority_key_identifier == ROOT.certificate.subject_key_identifier


def test_fields_of_a_root() -> None:
    root = ROOT.certificate
    assert root.is_ca
    assert root.subject == root.issuer == "Card Root"
    assert root.key_usage == frozenset({"key_cert_sign", "crl_sign"})


def test_pem_round_trip() -> None:
    assert Certificate.from_pem(LEAF.pem()) == LEAF
    assert Certificate.from_pem(LEAF.pem().encode()) == LEAF


def test_bundle() -> None:
    assert Certificate.all_from_pem(LEAF.pem() + ROOT.certificate.pem()) == [LEAF, ROOT.certificate]
    with pytest.raises(CertificateInvalid):
        Certificate.from_pem(LEAF.pem() + ROOT.certificate.pem())


def test_moments_are_kept_in_utc_and_whole_seconds() -> None:
    shanghai = dt.timezone(dt.timedelta(hours=8))
    issued = ROOT.issue("T", KEY.public_key, dt.datetime(2026, 5, 1, 8, 0, 0, 999_999, shanghai), END)
    assert issued.not_before == dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    assert ROOT.issue("T", KEY.public_key, START, END.replace(microsecond=500_000)).not_after == END


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        ROOT.issue("T", KEY.public_key, START.replace(tzinfo=None), END.replace(tzinfo=None))


def test_serial_numbers_are_positive_and_differ() -> None:
    serials = {ROOT.issue("T", KEY.public_key, START, END).serial_number for _ in range(50)}
    assert len(serials) == 50
    assert all(0 < serial < 2**127 for serial in serials)


def test_a_given_serial_number_is_used() -> None:
    assert ROOT.issue("T", KEY.public_key, START, END, serial_number=7).serial_number == 7


@pytest.mark.parametrize("serial", [0, -1])
def test_a_serial_number_that_is_not_positive_is_not_issued(serial: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        ROOT.issue("T", KEY.public_key, START, END, serial_number=serial)


def test_an_end_before_the_beginning_is_not_issued() -> None:
    with pytest.raises(ValueError, match="end before"):
        ROOT.issue("T", KEY.public_key, END, START)


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines"])
def test_impossible_names_are_not_issued(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        ROOT.issue(name, KEY.public_key, START, END)


def test_repr_does_not_show_the_subject() -> None:
    assert "A12345678" not in repr(LEAF)


def test_authority_round_trip() -> None:
    again = CertificateAuthority.from_pem(ROOT.to_pem())
    assert again.certificate == ROOT.certificate
    issued = again.issue("T", KEY.public_key, START, END)
    assert issued.issuer_name == ROOT.certificate.subject_name


def test_authority_with_another_key_is_refused() -> None:
    with pytest.raises(KeyInvalid, match="another key"):
        CertificateAuthority.from_pem(private_key_to_pem(KEY) + ROOT.certificate.pem())


def test_authority_with_a_leaf_is_refused() -> None:
    with pytest.raises(KeyInvalid, match="not a certificate authority"):
        CertificateAuthority(KEY, LEAF)


def test_private_key_round_trip() -> None:
    assert private_key_from_pem(private_key_to_pem(KEY)).to_bytes() == KEY.to_bytes()


@pytest.mark.parametrize("d", [1, 255, 2**200])
def test_a_short_private_key_is_stored_in_full_length(d: int) -> None:
    key = Sm2PrivateKey.from_bytes(d.to_bytes(32, "big"))
    assert private_key_from_pem(private_key_to_pem(key)).to_bytes() == key.to_bytes()


@pytest.mark.parametrize("text", ["", "no PEM", LEAF.pem(), private_key_to_pem(KEY) * 2], ids=range(4))
def test_no_private_key(text: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        private_key_from_pem(text)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_private_key_with_the_public_key_of_another() -> None:
    ours, theirs = KEY.public_key.to_bytes(), Sm2PrivateKey.generate().public_key.to_bytes()
    stored = pem.unarmor(private_key_to_pem(KEY).encode())[2]
    with pytest.raises(KeyInvalid):
        private_key_from_pem(pem.armor("PRIVATE KEY", stored.replace(ours, theirs)))


def test_request_round_trip() -> None:
    request = SigningRequest.from_pem(SigningRequest.create(KEY, "T0000001").pem())
    request.verify()
    assert request.common_name == "T0000001"
    assert request.public_key == KEY.public_key


def test_request_signed_by_another_key() -> None:
    mine = SigningRequest.create(KEY, "T0000001")
    foreign = SigningRequest.create(Sm2PrivateKey.generate(), "T0000001")
    forged = mine.der.replace(KEY.public_key.to_bytes(), foreign.public_key.to_bytes())
    assert forged != mine.der
    with pytest.raises(CertificateInvalid) as caught:
        SigningRequest.from_der(forged).verify()
    assert caught.value.reason == "bad_signature"


def test_altered_request() -> None:
    request = SigningRequest.create(KEY, "T0000001")
    with pytest.raises(CertificateInvalid) as caught:
        SigningRequest.from_der(request.der.replace(b"T0000001", b"T0000002")).verify()
    assert caught.value.reason == "bad_signature"


def test_revocation_list_round_trip() -> None:
    issued = ROOT.issue_crl({5: START, 2**100: START}, START, END)
    read = RevocationList.from_pem(issued.pem())
    assert read == issued
    assert read.revoked_serials == {5, 2**100}
    assert (read.issuer, read.this_update, read.next_update) == ("Card Root", START, END)
    assert ROOT.issue_crl({}, START, END).revoked_serials == frozenset()


def test_a_revocation_list_that_ends_before_it_begins() -> None:
    with pytest.raises(ValueError, match="end before"):
        ROOT.issue_crl({}, END, START)
    issued = ROOT.issue_crl({}, START, START.replace(year=2027))
    turned = issued.der.replace(b"260101000000Z", b"280101000000Z")
    with pytest.raises(CertificateInvalid) as caught:
        RevocationList.from_der(turned)
    assert caught.value.reason == "malformed"


def reissued(**changes: object) -> bytes:
    """The leaf's DER with fields of its body replaced (and its signature kept: parsing does not look at it)."""
    parsed = x509.Certificate.load(LEAF.der)
    body = parsed["tbs_certificate"].copy()
    for field, value in changes.items():
        body[field] = value
    return bytes(
        x509.Certificate(
            {
                "tbs_certificate": body,
                "signature_algorithm": parsed["signature_algorithm"].copy(),
                "signature_value": LEAF.signature,
            }
        ).dump(force=True)
    )


def test_reissued_without_changes_is_the_same() -> None:
    assert reissued() == LEAF.der


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(LEAF.der[:-1], id="truncated"),
        pytest.param(LEAF.der + b"\0", id="a byte more"),
        pytest.param(reissued(serial_number=0), id="serial number 0"),
        pytest.param(reissued(serial_number=-5), id="negative serial number"),
        pytest.param(LEAF.der.replace(b"20560101000000Z", b"20250101000000Z"), id="ends before it begins"),
        pytest.param(reissued(version="v1", extensions=None), id="version 1"),
        pytest.param(reissued(signature={"algorithm": "sha256_ecdsa"}), id="two algorithms"),
        pytest.param(
            reissued(extensions=[{"extn_id": "1.2.3.4", "critical": True, "extn_value": b"\x05\x00"}]),
            id="unknown critical extension",
        ),
        pytest.param(
            reissued(extensions=[{"extn_id": "key_identifier", "critical": False, "extn_value": b"1"}] * 2),
            id="an extension twice",
        ),
        pytest.param(LEAF.der.replace(KEY.public_key.to_bytes(), b"\x04" + bytes(64)), id="point not on the curve"),
        pytest.param(
            LEAF.der.replace(bytes.fromhex("06082a811ccf5501822d"), bytes.fromhex("06082a8648ce3d030107")),
            id="another curve",
        ),
    ],
)
def test_malformed_certificates_are_not_read(data: bytes) -> None:
    with pytest.raises(CertificateInvalid) as caught:
        Certificate.from_der(data)
    assert caught.value.reason == "malformed"


REQUEST = SigningRequest.create(KEY, "T0000001")
LIST = ROOT.issue_crl({5: START}, START, END)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_altered_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    read, whole = data.draw(
        st.sampled_from(
            [
                (Certificate.from_der, LEAF.der),
                (SigningRequest.from_der, REQUEST.der),
                (RevocationList.from_der, LIST.der),
            ]
        )
    )
    altered = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(altered))
    except CertificateInvalid:
        return
