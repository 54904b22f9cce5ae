"""The key that signs seals: a file that only its owner reads; its certificate beside it, for whoever checks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from settlement.clock import Clock
from settlement.security.authorities import AuthorityError, read_private, write_once
from terminal_sdk.crypto import (
    Certificate,
    CertificateAuthority,
    CryptoError,
    Sm2PrivateKey,
    Sm2PublicKey,
    private_key_from_pem,
)

KEY_FILE = "seal.pem"
CERTIFICATE_FILE = "seal.crt"
CERTIFICATE_FILES = "seal*.crt"
"""Whose seals are trusted: the present key's, and those of keys that were retired (``seal-2026.crt`` …)."""
_NAME = "Settlement Seal"
_YEARS = 20
_WHAT = "seal key"


@dataclass(frozen=True, slots=True)
class SealKey:
    """Who seals. ``signer``: the fingerprint (SM3, hex) of the certificate."""

    private: Sm2PrivateKey
    signer: str


def create_seal_key(folder: Path, clock: Clock) -> list[Path]:
    """Make key and certificate if they are not there; returns the files made. Safe to repeat, also side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    key, certificate = folder / KEY_FILE, folder / CERTIFICATE_FILE
    if not key.exists():
        now = clock.now()
        own = CertificateAuthority.create_root(_NAME, now - dt.timedelta(days=1), now + dt.timedelta(days=365 * _YEARS))
        if write_once(key, own.to_pem()):
            made.append(key)
    if not certificate.exists() and write_once(
        certificate, Certificate.from_pem(read_private(key, _WHAT)).pem(), mode=0o644
    ):
        made.append(certificate)
    return made


def load_seal_key(folder: Path) -> SealKey:
    """The key that signs. Raises ``AuthorityError``."""
    path = folder / KEY_FILE
    text = read_private(path, _WHAT)
    try:
        private, certificate = private_key_from_pem(text), Certificate.from_pem(text)
    except CryptoError as error:
        raise AuthorityError(f"cannot read the seal key {path}: {error}") from error
    if private.public_key != certificate.public_key:
        raise AuthorityError(f"{path}: the certificate belongs to another key")
    return SealKey(private, certificate.fingerprint)


def load_seal_certificates(files: Iterable[Path]) -> Mapping[str, Sm2PublicKey]:
    """The keys whose seals are trusted, by fingerprint. Raises ``AuthorityError`` for a file that cannot be read."""
    trusted = {}
    for path in files:
        try:
            certificate = Certificate.from_pem(path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError, CryptoError) as error:
            raise AuthorityError(f"cannot read the seal certificate {path}: {error}") from error
        trusted[certificate.fingerprint] = certificate.public_key
    return trusted


def own_seal_certificates(folder: Path) -> Mapping[str, Sm2PublicKey]:
    """The keys that an installation itself trusts: of every ``seal*.crt`` in its folder. Raises ``AuthorityError``."""
    return load_seal_certificates(sorted(folder.glob(CERTIFICATE_FILES)))
