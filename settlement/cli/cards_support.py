"""What the commands of ``settlement cards`` share: parameters, the way to the registry, private files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from settlement.banks.directory import SWITCH, DirectoryError, default_directory, load_directory
from settlement.cards.errors import RegistryError
from settlement.cards.registry import CardRegistry
from settlement.clock import SystemClock
from settlement.config import ConfigError, Settings, load_settings
from settlement.db.errors import DatabaseError
from settlement.db.migrate import migrate
from settlement.db.pool import create_pool
from settlement.db.server import database_server
from settlement.errors import ServiceError
from settlement.security import KeyRing, KeyRingError, Personal, PersonalDataError
from settlement.security.authorities import AuthorityError, load_authorities
from terminal_sdk.card.errors import CardImageInvalid
from terminal_sdk.card.image import CardImage
from terminal_sdk.crypto import CertificateAuthority

T = TypeVar("T")
Action = Callable[[CardRegistry], Awaitable[T]]

_FAILURES = (
    AuthorityError,
    CardImageInvalid,
    ConfigError,
    DatabaseError,
    DirectoryError,
    KeyRingError,
    PersonalDataError,
    RegistryError,
    ServiceError,
)
_CARD_NUMBER = re.compile(r"[A-Za-z0-9]{9}")
_YUAN = re.compile(r"[0-9]{1,9}(\.[0-9]{1,2})?")


def card_parameter(value: str) -> str:
    """A card's number, from the number itself or from the file of a virtual card (``./card.json``)."""
    if _CARD_NUMBER.fullmatch(value):
        return value
    try:
        return CardImage.load(Path(value)).card_number
    except (OSError, CardImageInvalid) as error:
        raise click.BadParameter("give the nine characters of a card number, or the file of a virtual card") from error


def yuan_parameter(value: str) -> int:
    """An amount in fen, from yuan with at most two decimals."""
    if not _YUAN.fullmatch(value):
        raise click.BadParameter("give yuan with at most two decimals, such as 1200 or 35.50")
    whole, _, decimals = value.partition(".")
    return int(whole) * 100 + int(decimals.ljust(2, "0"))


def settings_of(ctx: click.Context) -> Settings:
    """The settings that the command was started with, or those of the environment."""
    given = ctx.find_object(Settings)
    if given is not None:
        return given
    with _failures():
        return load_settings(os.environ)


def run(ctx: click.Context, action: Action[T]) -> T:
    """Do one thing with the registry of the configured database, brought up to date first."""
    with _failures(), database_server(settings_of(ctx)) as settings:
        return asyncio.run(_with_registry(settings, action))


def authority_and_keys(settings: Settings) -> tuple[CertificateAuthority, KeyRing]:
    """What a card is issued with: the card authority and the keys of this installation."""
    with _failures():
        return load_authorities(settings.pki_dir).card, KeyRing.load(settings.master_key_path, settings.master_key)


async def _with_registry(settings: Settings, action: Action[T]) -> T:
    keys = KeyRing.load(settings.master_key_path, settings.master_key)
    roots = []
    with contextlib.suppress(AuthorityError):  # needed to register a card only, which says what is missing
        roots.append(load_authorities(settings.pki_dir).card.certificate)
    pool = await create_pool(settings)
    try:
        async with pool.acquire() as connection:
            await migrate(connection)
        return await action(CardRegistry(pool, Personal(keys), keys, SystemClock(), roots))
    finally:
        await pool.close()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Expected failures as one line for the operator instead of a stack trace."""
    try:
        yield
    except _FAILURES as error:
        raise click.ClickException(str(error)) from error


def check_bank(settings: Settings, bank: str | None) -> None:
    """Refuse the code of a bank that the directory does not have."""
    with _failures():
        directory = load_directory(settings.bank_directory) if settings.bank_directory else default_directory()
    if bank is not None and bank not in directory.banks:
        raise click.UsageError(
            f"no bank {bank}; there are {', '.join(code for code in directory.banks if code != SWITCH)}"
        )


@contextlib.contextmanager
def new_private_file(path: Path) -> Iterator[Callable[[str], int]]:
    """A new file (0600), claimed before anything is registered and gone again if that fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"cannot make {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file.write
    except BaseException:
        path.unlink(missing_ok=True)
        raise
