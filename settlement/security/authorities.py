"""The certificate authorities of an installation: one for cards, one for terminals, kept in files of their own."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from settlement.clock import Clock
from terminal_sdk.crypto import CertificateAuthority, CryptoError

_YEARS = 20
_NAMES = {"card": "Settlement Card CA", "terminal": "Settlement Terminal CA"}


class AuthorityError(Exception):
    """An authority's file is missing, open to others or unreadable; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who signs cards and who signs terminals."""

    card: CertificateAuthority
    terminal: CertificateAuthority


def create_authorities(folder: Path, clock: Clock) -> list[Path]:
    """Make the authorities that are not there yet; returns the files made. Safe to repeat and to run side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    now = clock.now()
    for role, name in _NAMES.items():
        path = folder / f"{role}-ca.pem"
        if path.exists():
            continue
        authority = CertificateAuthority.create_root(
            name, now - dt.timedelta(days=1), now + dt.timedelta(days=365 * _YEARS)
        )
        if write_once(path, authority.to_pem()):
            made.append(path)
    return made


def load_authorities(folder: Path) -> Authorities:
    """Read both authorities. Raises ``AuthorityError``."""
    return Authorities(card=_load(folder / "card-ca.pem"), terminal=_load(folder / "terminal-ca.pem"))


def _load(path: Path) -> CertificateAuthority:
    text = read_private(path, "authority")
    try:
        return CertificateAuthority.from_pem(text)
    except CryptoError as error:
        raise AuthorityError(f"cannot read the authority {path}: {error}") from error


def read_private(path: Path, what: str) -> str:
    """The text of a file with a private key. Raises ``AuthorityError`` where it is missing or open to others."""
    try:
        if path.stat().st_mode & 0o077:
            raise AuthorityError(f"{path} can be read by others: chmod 600 {path}")
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise AuthorityError(f"there is no {what} at {path}; `settlement init` makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AuthorityError(f"cannot read the {what} {path}: {error}") from error


def write_once(path: Path, text: str, *, mode: int = 0o600) -> bool:
    """Write durably and never over what is there; False if another process was first."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
            return True
        return False
    finally:
        draft.unlink(missing_ok=True)
