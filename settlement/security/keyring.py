"""One master key, kept in a file that only its owner can read, and the named keys derived from it."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from settlement.files import sync_folder
from terminal_sdk.crypto import derive_key

MASTER_KEY_BYTES = 32
_PREFIX = "settlement/"


class KeyRingError(Exception):
    """The master key is missing, malformed, or readable by others. No message carries the key."""


class KeyRing:
    """Derives a key for each purpose from the master key; the same name always gives the same key.

    Raises ``KeyRingError`` if the master key is not 32 bytes.
    """

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != MASTER_KEY_BYTES:
            raise KeyRingError(f"a master key has {MASTER_KEY_BYTES} bytes, not {len(master_key)}")
        self._master_key = master_key

    def derive(self, name: str, size: int = 32) -> bytes:
        """The key of a purpose, ``size`` bytes (HMAC-SM3 based; see ``terminal_sdk.crypto.derive_key``)."""
        return derive_key(self._master_key, _PREFIX + name, size)

    @classmethod
    def load(cls, key_file: Path, master_key_hex: str | None = None) -> KeyRing:
        """The key given in hex, or else the one in the file. Raises ``KeyRingError``."""
        return cls.from_hex(master_key_hex) if master_key_hex is not None else cls.from_file(key_file)

    @classmethod
    def from_hex(cls, text: str) -> KeyRing:
        """From 64 hex digits. Raises ``KeyRingError``."""
        if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * MASTER_KEY_BYTES}}}", text):
            raise KeyRingError(f"a master key is written as {2 * MASTER_KEY_BYTES} hex digits")
        return cls(bytes.fromhex(text))

    @classmethod
    def from_file(cls, path: Path) -> KeyRing:
        """From a file that belongs to us or to root and that nobody else can read. Raises ``KeyRingError``."""
        try:
            with path.open(encoding="ascii", errors="replace") as file:
                found = os.fstat(file.fileno())
                text = file.read(2 * MASTER_KEY_BYTES + 16).strip()
        except FileNotFoundError:
            raise KeyRingError(f"there is no master key at {path}; `settlement init` makes one") from None
        except OSError as error:
            raise KeyRingError(f"cannot read the master key {path}: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
            raise KeyRingError(f"the master key {path} can be read by others: chmod 600 {path}")
        if found.st_uid not in {os.geteuid(), 0}:
            raise KeyRingError(f"the master key {path} belongs to another user; it must be ours or root's")
        try:
            return cls.from_hex(text)
        except KeyRingError as error:
            raise KeyRingError(f"{path}: {error}") from None

    @classmethod
    def create_file(cls, path: Path) -> KeyRing:
        """Make a new master key and keep it in a new file (0600), durably. Raises ``KeyRingError`` if there is one.

        Everything encrypted is lost with this file: back it up apart from the database.
        """
        key = secrets.token_bytes(MASTER_KEY_BYTES)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{key.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a rename, refuses to replace a key that is there
            sync_folder(path.parent)
        except FileExistsError:
            raise KeyRingError(f"there is a master key at {path} already; it is not replaced") from None
        except OSError as error:
            raise KeyRingError(f"cannot write the master key {path}: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
        return cls(key)

    def __repr__(self) -> str:
        """Without the key."""
        return "KeyRing(...)"
