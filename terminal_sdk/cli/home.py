"""The till's folder: credentials, journal and settings, for the eyes of its owner alone."""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from terminal_sdk.cli.profiles import PROFILES, Agreement, Profile, ProfileName
from terminal_sdk.client import Credentials
from terminal_sdk.errors import CredentialsInvalid, TerminalError
from terminal_sdk.journal import Journal, sync_folder
from terminal_sdk.wire import OnBankDecline, Remainder, TerminalId

DEFAULT_HOME = "~/.settlement-terminal"
_OTHERS = 0o077
Line = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class HomeInvalid(TerminalError):
    """The till's folder is not enrolled, cannot be read or written, or is open to other users."""


class PrinterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``device``: where receipts are printed unless ``--printer`` says otherwise; ``font``: for PDF."""

    device: Line | None = None
    encoding: Line = "gb18030"
    cut: bool = True
    font: Line | None = None


class ReceiptSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Lines above and below the service's text, in place of the profile's; an empty one leaves it out."""

    header: Line | None = None
    footer: Line | None = None


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What takes the place of the profile's own defaults."""

    agreement: Agreement | None = None
    on_bank_decline: OnBankDecline | None = None
    remainder: Remainder | None = None


class TillSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``till.toml``. ``ca``: a file with the authorities to trust behind an https address, where the system's own do
    not know it. ``reader``: as the option of that name, for commands that name neither card nor reader.
    """

    base_url: Line
    terminal_id: TerminalId
    profile: ProfileName
    ca: Line | None = None
    reader: Line | None = None
    printer: PrinterSettings = msgspec.field(default_factory=PrinterSettings)
    receipt: ReceiptSettings = msgspec.field(default_factory=ReceiptSettings)
    defaults: Defaults = msgspec.field(default_factory=Defaults)

    def counter(self) -> Profile:
        """The profile with this till's own settings over it."""
        own: dict[str, object] = {}
        for settings in (self.defaults, self.receipt):
            own |= {key: value for key, value in msgspec.structs.asdict(settings).items() if value is not None}
        return dataclasses.replace(PROFILES[self.profile], **own)  # type: ignore[arg-type]  # each was checked above

    def tls(self) -> ssl.SSLContext | None:
        """Whom to trust, where ``ca`` says so. Raises ``HomeInvalid``."""
        if self.ca is None:
            return None
        try:
            return ssl.create_default_context(cafile=str(Path(self.ca).expanduser()))
        except OSError as error:  # ssl.SSLError is one
            raise HomeInvalid(f"{self.ca}: no file with certificates of authorities") from error


@dataclass(frozen=True, slots=True)
class Home:
    """One till's folder. Nothing is read before it is asked for."""

    folder: Path

    @property
    def credentials_file(self) -> Path:
        """The terminal's key and certificates."""
        return self.folder / "credentials.json"

    @property
    def journal_file(self) -> Path:
        """Every attempt, see ``terminal_sdk.journal``."""
        return self.folder / "journal.sqlite"

    @property
    def settings_file(self) -> Path:
        """The till's settings."""
        return self.folder / "till.toml"

    def make(self) -> None:
        """Make the folder for its owner alone, or check that it is so. Raises ``HomeInvalid``."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HomeInvalid(f"{self.folder}: {error.strerror}") from error
        require_private(self.folder)

    def settings(self) -> TillSettings:
        """``till.toml``. Raises ``HomeInvalid``."""
        if not self.settings_file.is_file():
            raise HomeInvalid(f"{self.folder}: no till is enrolled here; settlement-terminal enrol makes one")
        require_private(self.folder)
        try:
            return msgspec.convert(tomllib.loads(self.settings_file.read_text(encoding="utf-8")), TillSettings)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise HomeInvalid(f"{self.settings_file}: {error}") from error
        except OSError as error:
            raise HomeInvalid(f"{self.settings_file}: {error.strerror}") from error

    def credentials(self) -> Credentials:
        """The terminal's credentials. Raises ``HomeInvalid``, ``CredentialsInvalid``."""
        if not self.credentials_file.is_file():
            raise HomeInvalid(f"{self.folder}: no till is enrolled here; settlement-terminal enrol makes one")
        require_private(self.credentials_file)
        try:
            own = Credentials.load(self.credentials_file)
        except OSError as error:
            raise HomeInvalid(f"{self.credentials_file}: {error.strerror}") from error
        if own.terminal_id != self.settings().terminal_id:
            raise CredentialsInvalid(f"{self.folder}: till.toml and credentials.json are of different terminals")
        return own

    def journal(self, own: Credentials) -> Journal:
        """The till's journal, open. Raises ``JournalError``."""
        return Journal(self.journal_file, terminal_id=own.terminal_id, key=own.key)

    def write_settings(self, settings: TillSettings) -> None:
        """Replace ``till.toml`` as a whole, readable by its owner alone. Raises ``HomeInvalid``."""
        draft = self.settings_file.with_name("till.toml.new")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(_toml(settings))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.settings_file)
            sync_folder(self.folder)
        except OSError as error:
            raise HomeInvalid(f"{self.settings_file}: {error.strerror}") from error


def require_private(path: Path) -> None:
    """Only the owner may look. Raises ``HomeInvalid`` with what to do; not asked where a system has no such bits."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        mode = "700" if path.is_dir() else "600"
        raise HomeInvalid(f"{path}: other users may look at it; do: chmod {mode} {path}")


def _toml(settings: TillSettings) -> str:
    """The settings as TOML; a JSON string is a TOML string too, for every text the settings accept."""
    values = msgspec.to_builtins(settings)
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    out = ["# The till's settings; docs/guide/till.md says what each one does."]
    out += _pairs({key: value for key, value in values.items() if key not in tables})
    for name, table in tables.items():
        if table:
            out += ["", f"[{name}]", *_pairs(table)]
    return "\n".join(out) + "\n"


def _pairs(table: dict[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
