"""The ``openssl`` command, and an authority, keys and files that it makes; nothing here is made by our own code."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from terminal_sdk.crypto import Certificate, RevocationList, Sm2PrivateKey, Sm2PublicKey, der, private_key_from_pem
from tests.support.tools import not_here

IDENTITY = "distid:1234567812345678"
"""The default identity (GM/T 0009), which the command must be told; otherwise it takes an empty one."""
LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment\n"
SUBORDINATE = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
_PUBLIC_KEY_INFO = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
"""What stands before the 65 bytes of an SM2 key in a SubjectPublicKeyInfo."""
_IDENTIFIERS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"


class OpensslRefused(Exception):
    """The command ended with a failure; what it wrote to its error output."""


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    """Run the command; its output. Raises ``OpensslRefused``."""
    return _run(arguments, given).stdout


def check_request(path: Path) -> None:
    """Have the command verify a request. Raises ``OpensslRefused``."""
    done = _run(("req", "-in", path, "-noout", "-verify", "-vfyopt", IDENTITY), b"")
    if b"verify OK" not in done.stdout + done.stderr:  # 3.0 ends with success all the same
        raise OpensslRefused(done.stderr.decode())


def check_signature(folder: Path, key: Sm2PublicKey, signed: bytes, signature: bytes) -> None:
    """Have the command verify a bare signature (DER): its ``verify`` cannot be told a list's identity.

    Raises ``OpensslRefused``.
    """
    key_file, signature_file = folder / "checked.pub", folder / "checked.sig"
    key_file.write_bytes(_PUBLIC_KEY_INFO + key.to_bytes())
    signature_file.write_bytes(signature)
    chosen = ("-sm3", "-sigopt", IDENTITY, "-keyform", "DER", "-verify", key_file)
    openssl("dgst", *chosen, "-signature", signature_file, given=signed)


def verify(folder: Path, leaf: Certificate, issuer: Certificate, *, at: dt.datetime) -> None:
    """Have the command verify a certificate right under its issuer, which is trusted. Raises ``OpensslRefused``."""
    leaf_file, issuer_file = write(folder / "v-leaf.pem", leaf.pem()), write(folder / "v-issuer.pem", issuer.pem())
    moment = ("-attime", str(int(at.timestamp())))
    trusted = ("-vfyopt", IDENTITY, "-partial_chain", "-trusted", issuer_file)
    assert said("verify", *moment, *trusted, leaf_file) == f"{leaf_file}: OK\n"


def described(certificate: Certificate, folder: Path) -> dict[str, str]:
    """Names, serial number, times and extensions of a certificate as the command shows them."""
    path = write(folder / "described.pem", certificate.pem())
    options = ("-noout", "-serial", "-startdate", "-enddate", "-dateopt", "iso_8601", "-subject", "-issuer")
    lines = said("x509", "-in", path, *options, "-nameopt", "utf8", "-ext", "basicConstraints,keyUsage").splitlines()
    shown = dict(line.split("=", 1) for line in lines if "=" in line)
    for heading, value in pairwise(lines):
        if heading.startswith("X509v3"):
            shown[heading.removeprefix("X509v3 ").strip()] = value.strip()
    return shown


def write(path: Path, text: str) -> Path:
    """The file with this text."""
    path.write_text(text, "utf-8")
    return path


def altered(data: bytes, old: bytes, new: bytes) -> bytes:
    """The same bytes with one piece in another shape of the same length; the signature is left as it was."""
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


def _run(arguments: Sequence[str | Path], given: bytes) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=30)
    if done.returncode != 0:
        raise OpensslRefused(done.stderr.decode())
    return done


def said(*arguments: str | Path) -> str:
    """Run the command; its output as text."""
    return openssl(*arguments).decode("utf-8")


def require_openssl() -> None:
    """Skip (or fail, where CI should have it) without a command that knows SM2."""
    if shutil.which("openssl") is None or "SM2" not in said("ecparam", "-list_curves"):
        not_here("needs the openssl command, 3.0 or newer, with SM2: apt-get install openssl")


def make_key(path: Path) -> Path:
    """A new SM2 key in this file."""
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", path)
    return path


def make_request(key_file: Path, common_name: str, *options: str, identity: str = IDENTITY) -> Path:
    """A certificate request of this key, in a file beside it."""
    path = key_file.with_suffix(".csr")
    signing = ("-sm3", "-sigopt", identity, "-utf8", "-subj", f"/CN={common_name}")
    openssl("req", "-new", "-key", key_file, *signing, *options, "-out", path)
    return path


def public_key_file(key_file: Path) -> Path:
    """The public key of a key file, in a file beside it."""
    path = key_file.with_suffix(".pub")
    openssl("pkey", "-in", key_file, "-pubout", "-out", path)
    return path


class OpensslAuthority:
    """A certificate authority kept by the command, in a folder of its own."""

    def __init__(self, folder: Path, common_name: str, *, days: int = 3_650) -> None:
        folder.mkdir()
        self.folder = folder
        self.key_file = make_key(folder / "ca.key")
        self.certificate_file = folder / "ca.pem"
        signing = ("-sm3", "-sigopt", IDENTITY, "-utf8", "-subj", f"/CN={common_name}", "-days", str(days))
        openssl("req", "-x509", "-new", "-key", self.key_file, *signing, "-out", self.certificate_file)
        (folder / "index.txt").touch()
        (folder / "crlnumber").write_text("01\n", "ascii")
        self._config = folder / "ca.conf"
        self._config.write_text(
            "[ca]\ndefault_ca=here\n[here]\ndefault_md=sm3\ncrl_extensions=crl\n"
            f"database={folder}/index.txt\ncrlnumber={folder}/crlnumber\n"
            f"certificate={self.certificate_file}\nprivate_key={self.key_file}\n"
            "[crl]\nauthorityKeyIdentifier=keyid\n",
            "utf-8",
        )

    @property
    def certificate(self) -> Certificate:
        """Its own certificate, read by us."""
        return Certificate.from_pem(self.certificate_file.read_text("ascii"))

    @property
    def key(self) -> Sm2PrivateKey:
        """Its key, read by us."""
        return private_key_from_pem(self.key_file.read_text("ascii"))

    def certify(self, request_file: Path, extensions: str = LEAF, *options: str, identity: str = IDENTITY) -> Path:
        """A certificate for a request, for 30 days unless ``options`` say otherwise; a file beside the request."""
        path, wanted = request_file.with_suffix(".pem"), request_file.with_suffix(".ext")
        wanted.write_text(extensions + _IDENTIFIERS, "ascii")
        authority = ("-CA", self.certificate_file, "-CAkey", self.key_file, "-sm3", "-sigopt", identity)
        checked = ("-in", request_file, "-vfyopt", IDENTITY, "-extfile", wanted)
        openssl("x509", "-req", *checked, *authority, "-days", "30", *options, "-out", path)
        return path

    def revoke(self, certificate_file: Path) -> None:
        """Take a certificate back."""
        openssl("ca", "-config", self._config, "-revoke", certificate_file, "-crl_reason", "keyCompromise")

    def revocation_list(self) -> RevocationList:
        """The current list, good for a week, read by us."""
        path = self.folder / "crl.pem"
        openssl("ca", "-config", self._config, "-gencrl", "-crldays", "7", "-sigopt", IDENTITY, "-out", path)
        return RevocationList.from_pem(path.read_text("ascii"))


class OpensslKey(Sm2PrivateKey):
    """A private key in a file: whoever signs or decrypts with it has the command do it."""

    __slots__ = ("_file",)

    def __init__(self, key_file: Path) -> None:
        known = private_key_from_pem(key_file.read_text("ascii"))
        super().__init__(known.to_bytes(), known.public_key)
        self._file = key_file

    def sign(self, message: bytes, identity: bytes = b"1234567812345678") -> bytes:
        """64 bytes r‖s, by the command."""
        chosen = ("-sm3", "-sigopt", f"distid:{identity.decode('ascii')}")
        return der.signature_from_der(openssl("dgst", *chosen, "-sign", self._file, given=message))

    def decrypt(self, ciphertext: bytes) -> bytes:
        """By the command, which takes the DER form."""
        return openssl("pkeyutl", "-decrypt", "-inkey", self._file, given=der.ciphertext_to_der(ciphertext))
