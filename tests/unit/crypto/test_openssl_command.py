"""Another implementation reads what we issue: the ``openssl`` command, where the machine has one that knows SM2."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path

import pytest

from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    SigningRequest,
    Sm2PrivateKey,
    private_key_from_pem,
    private_key_to_pem,
    verify_chain,
)

IDENTITY = "distid:1234567812345678"
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2056, 1, 1, tzinfo=dt.UTC)


def openssl(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout + done.stderr


def knows_sm2() -> bool:
    return shutil.which("openssl") is not None and "SM2" in openssl("ecparam", "-list_curves", check=False)


pytestmark = pytest.mark.skipif(not knows_sm2(), reason="no openssl command with SM2 on this machine")


@pytest.fixture
def root() -> CertificateAuthority:
    return CertificateAuthority.create_root("Root", START, END)


def write(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def test_certificate_is_read_and_verified(root: CertificateAuthority, tmp_path: Path) -> None:
    leaf = root.issue("Terminal T0000001", Sm2PrivateKey.generate().public_key, START, END)
    leaf_file = write(tmp_path / "leaf.pem", leaf.pem())
    root_file = write(tmp_path / "root.pem", root.certificate.pem())
    text = openssl("x509", "-in", leaf_file, "-noout", "-text")
    for expected in ("SM2-with-SM3", "ASN1 OID: SM2", "CA:FALSE", "Digital Signature", "Jan  1 00:00:00 2056 GMT"):
        assert expected in text
    assert f"{leaf_file}: OK" in openssl("verify", "-vfyopt", IDENTITY, "-CAfile", root_file, leaf_file)


def test_altered_certificate_is_refused_by_both(root: CertificateAuthority, tmp_path: Path) -> None:
    leaf = root.issue("Terminal T0000001", Sm2PrivateKey.generate().public_key, START, END)
    altered = Certificate.from_der(leaf.der.replace(b"T0000001", b"T0000002"))
    leaf_file = write(tmp_path / "leaf.pem", altered.pem())
    root_file = write(tmp_path / "root.pem", root.certificate.pem())
    answer = openssl("verify", "-vfyopt", IDENTITY, "-CAfile", root_file, leaf_file, check=False)
    assert "certificate signature failure" in answer


def test_request_is_verified(tmp_path: Path) -> None:
    request = SigningRequest.create(Sm2PrivateKey.generate(), "T0000001")
    path = write(tmp_path / "request.pem", request.pem())
    assert "verify OK" in openssl("req", "-in", path, "-noout", "-verify", "-vfyopt", IDENTITY)


def test_revocation_list_is_read(root: CertificateAuthority, tmp_path: Path) -> None:
    path = write(tmp_path / "list.pem", root.issue_crl({0xABCDEF: START}, START, END).pem())
    text = openssl("crl", "-in", path, "-noout", "-text")
    assert "Serial Number: ABCDEF" in text
    assert "SM2-with-SM3" in text


def test_stored_key_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", private_key_to_pem(Sm2PrivateKey.generate()))
    assert "Key is valid" in openssl("pkey", "-in", path, "-noout", "-check")


def test_what_openssl_makes_is_read_and_verified(tmp_path: Path) -> None:
    """A key, a root and a request of its own making, signed under the default identity."""
    key_file, root_file = str(tmp_path / "key.pem"), str(tmp_path / "root.pem")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", key_file)
    openssl(
        "req", "-x509", "-new", "-key", key_file, "-sm3", "-sigopt", IDENTITY, "-days", "2", "-subj", "/CN=Their Root",
        "-out", root_file,
    )  # fmt: skip
    key = private_key_from_pem((tmp_path / "key.pem").read_text("ascii"))
    root = Certificate.from_pem((tmp_path / "root.pem").read_text("ascii"))
    assert root.public_key == key.public_key
    assert root.subject == "Their Root"
    leaf = CertificateAuthority(key, root).issue("Terminal", key.public_key, root.not_before, root.not_after)
    verify_chain(leaf, roots=[root], at=root.not_before)
    request_file = str(tmp_path / "request.pem")
    openssl("req", "-new", "-key", key_file, "-sm3", "-sigopt", IDENTITY, "-subj", "/CN=T0000009", "-out", request_file)
    request = SigningRequest.from_pem((tmp_path / "request.pem").read_text("ascii"))
    request.verify()
    assert request.common_name == "T0000009"
