"""The service's configuration: one frozen object, read once from TOML and environment, wrong values refused by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from settlement.kinds import FLAG, KEY_HEX, LOCAL_TIME, PATH, POSTGRES_URL, TEXT, Kind, choice, integer, optional

PREFIX = "SETTLEMENT_"
FILE_VARIABLE = "SETTLEMENT_CONFIG"
"""Names the TOML file; every other variable with the prefix is a setting."""
TEST_PREFIX = "SETTLEMENT_TEST_"
"""Variables for the tests; the service does not look at them."""
TERMINAL_PREFIX = "SETTLEMENT_TERMINAL_"
"""Variables of the command `settlement-terminal`."""
NOT_SETTINGS = frozenset({FILE_VARIABLE, "SETTLEMENT_CRYPTO_BACKEND"})
"""What begins like a setting and is none; the library for the cryptography is chosen by the terminal kit itself."""

T = TypeVar("T")


class ConfigError(Exception):
    """A setting is unknown or has a bad value; the message names the setting, the value and what is expected."""


def _setting(default: T, kind: Kind[T], doc: str) -> T:
    return dataclasses.field(default=default, repr=not kind.secret, metadata={"kind": kind, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the service. Times carry their unit in the name; ``describe()`` lists them for people.

    Raises ``ConfigError`` when made with a value that its kind refuses.
    """

    database_url: str | None = _setting(
        None, optional(POSTGRES_URL), "PostgreSQL 15 or newer; without it an embedded server is started under data_dir."
    )
    data_dir: Path = _setting(
        Path(".data"), PATH, "Where the embedded database and the master key are kept, if not placed elsewhere."
    )
    db_pool_min: int = _setting(2, integer(0, 1_000), "Database connections kept open in each process.")
    db_pool_max: int = _setting(8, integer(1, 1_000), "Database connections at most in each process.")
    db_statement_timeout_ms: int = _setting(
        60_000, integer(0, 3_600_000), "A statement that runs longer is cancelled; 0: never."
    )
    db_lock_timeout_ms: int = _setting(
        2_000, integer(0, 3_600_000), "A statement that waits longer for a row or table is cancelled; 0: never."
    )
    allow_weak_durability: bool = _setting(
        False, FLAG, "Accept a database that may lose commits in a crash. For experiments only; shown by /readyz."
    )
    http_host: str = _setting("127.0.0.1", TEXT, "Address that the service listens on.")
    http_port: int = _setting(8080, integer(0, 65_535), "Port that the service listens on; 0 takes a free one.")
    workers: int = _setting(1, integer(1, 64), "Processes that serve the one port.")
    max_body_bytes: int = _setting(1_048_576, integer(1_024, 64 * 1_048_576), "A larger request body is refused (413).")
    max_in_flight: int = _setting(
        512,
        integer(1, 100_000),
        "Requests under way at once in each process, also in line or waiting for a bank; more are refused (503).",
    )
    max_working: int = _setting(
        64, integer(1, 10_000), "Of those, requests worked on at once; the others wait for a moment, or are refused."
    )
    drain_s: int = _setting(20, integer(0, 600), "How long a stopping service waits for requests under way.")
    clock_skew_s: int = _setting(180, integer(1, 3_600), "How far a terminal's clock may be off.")
    session_hours: int = _setting(24, integer(1, 168), "How long a terminal's sign-in holds.")
    quote_ttl_s: int = _setting(300, integer(1, 86_400), "How long a quote may be used.")
    proof_max_age_s: int = _setting(300, integer(1, 3_600), "How old a card's signature may be.")
    idempotency_retention_days: int = _setting(400, integer(1, 36_500), "How long an idempotency key is remembered.")
    cut_over: dt.time = _setting(
        dt.time(0), LOCAL_TIME, "When the business day ends, local time in Shanghai; see settlement.businessdate."
    )
    batch_max: int = _setting(64, integer(1, 1_000), "Settlements gathered into one database call at most.")
    claim_lease_ms: int = _setting(
        20_000, integer(100, 3_600_000), "How long a worker's claim on a leg holds before another may take it."
    )
    recovery_interval_ms: int = _setting(
        500, integer(10, 3_600_000), "How often the recovery worker looks for legs that are due."
    )
    in_doubt_alarm_s: int = _setting(
        300, integer(1, 31_536_000), "Age at which a case in doubt is told as old: once in the log, and in the metrics."
    )
    seal_interval_s: int = _setting(
        60,
        integer(0, 86_400),
        "How often the ledger's new rows are sealed; 0: never (`settlement seal` does it by hand).",
    )
    bank_directory: Path | None = _setting(
        None, optional(PATH), "TOML file with the banks' addresses; without it the built-in directory is used."
    )
    plan_dir: Path | None = _setting(
        None, optional(PATH), "Folder of plan files (*.toml) of the medical insurance; default: those of this release."
    )
    master_key_file: Path | None = _setting(
        None, optional(PATH), "File with the master key, readable by its owner only; default: master.key in data_dir."
    )
    master_key: str | None = _setting(
        None, optional(KEY_HEX), "The master key itself, instead of a file; meant for the environment, not for TOML."
    )
    log_format: str = _setting("auto", choice("auto", "console", "json"), "auto: console on a terminal, else JSON.")
    log_level: str = _setting(
        "info", choice("debug", "info", "warning", "error", "critical"), "Quieter messages than this are dropped."
    )

    def __post_init__(self) -> None:
        """Check and normalise every field, however the object was made."""
        for field in dataclasses.fields(self):
            value = _checked(field, getattr(self, field.name), field.name)
            object.__setattr__(self, field.name, value)
        if self.db_pool_min > self.db_pool_max:
            raise ConfigError(
                f"db_pool_min = {self.db_pool_min}: expected at most db_pool_max, which is {self.db_pool_max}"
            )

    @property
    def master_key_path(self) -> Path:
        """The file of the master key: as configured, or ``master.key`` under the data directory."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def pki_dir(self) -> Path:
        """Where the certificate authorities are kept: ``pki`` under the data directory."""
        return self.data_dir / "pki"


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """One setting for the documentation: its key in TOML, its variable, default, accepted values and meaning."""

    key: str
    variable: str
    default: str
    expected: str
    meaning: str


def describe() -> list[SettingDescription]:
    """All settings in their order, for the documentation and for ``--help``."""
    return [
        SettingDescription(
            key=field.name,
            variable=_variable(field.name),
            default="" if field.default is None else _plain(field.default),
            expected=field.metadata["kind"].expected,
            meaning=field.metadata["doc"],
        )
        for field in dataclasses.fields(Settings)
    ]


def load_settings(environ: Mapping[str, str], toml_path: Path | None = None) -> Settings:
    """Read the settings: defaults, then the TOML file, then the environment (``SETTLEMENT_<KEY>``), each over the last.

    ``toml_path``: the file to read; None reads the one that ``SETTLEMENT_CONFIG`` names, if any. An empty variable
    counts as not set. Raises ``ConfigError`` for an unreadable file, an unknown key or a bad value.
    """
    named = environ.get(FILE_VARIABLE, "")
    path = toml_path or (Path(named) if named else None)
    values: dict[str, object] = {}
    if path is not None:
        values |= _from_toml(path)
    values |= _from_environment(environ)
    return Settings(**values)  # type: ignore[arg-type]  # __post_init__ checks each value by its kind


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment from which ``load_settings`` makes these very settings, whatever a file says meanwhile."""
    values = {_variable(name): getattr(settings, name) for name in _fields()}
    return {FILE_VARIABLE: "", **{name: "" if value is None else _plain(value) for name, value in values.items()}}


def _from_toml(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from error
    fields = _fields()
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise ConfigError(f"{path}: unknown setting {key}{_meant(key, fields)}")
        values[key] = _checked(fields[key], value, f"{path}: {key}")
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    fields = {_variable(name): field for name, field in _fields().items()}
    values = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable.startswith((TEST_PREFIX, TERMINAL_PREFIX)):
            continue
        if variable in NOT_SETTINGS:
            continue
        if variable not in fields:
            raise ConfigError(f"unknown setting {variable}{_meant(variable, fields)}")
        if text.strip():
            field = fields[variable]
            values[field.name] = _checked(field, text, variable)
    return values


def _checked(field: dataclasses.Field[Any], value: object, shown_as: str) -> object:
    kind: Kind[object] = field.metadata["kind"]
    try:
        return kind.parse(value)
    except (TypeError, ValueError) as error:
        shown = "(hidden)" if kind.secret else repr(value)
        raise ConfigError(f"{shown_as} = {shown}: expected {kind.expected}") from error


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(Settings)}


def _variable(key: str) -> str:
    return PREFIX + key.upper()


def _meant(key: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.time):
        return value.isoformat(timespec="minutes" if value.second == 0 else "seconds")
    return str(value)
