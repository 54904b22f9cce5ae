"""What the commands of ``settlement cards`` share: parameters, the way to the registry, private files."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from settlement.banks.directory import SWITCH
from settlement.cards.errors import RegistryError
from settlement.cli.operating import operate
from settlement.errors import ServiceError
from settlement.security import PersonalDataError
from terminal_sdk.card.errors import CardImageInvalid
from terminal_sdk.card.image import CardImage

if TYPE_CHECKING:
    from settlement.bootstrap import Base

T = TypeVar("T")

_REFUSALS = (CardImageInvalid, PersonalDataError, RegistryError, ServiceError)
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


def day_parameter(value: str) -> dt.date:
    """A day, written as 2019-07-01."""
    try:
        return dt.datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007 - a calendar day, of no zone
    except ValueError as error:
        raise click.BadParameter("give a day such as 2019-07-01") from error


def check_plan(code: str, day: dt.date) -> None:
    """Refuse a plan that is not in force on that day or later."""
    from settlement.policy.book import PlanBook

    plans = PlanBook.load().plans
    known = {plan.code for plan in plans if plan.valid_to is None or plan.valid_to >= day}
    if code not in known:
        raise click.BadParameter(
            f"there is no plan {code} from {day} on; there are {', '.join(sorted(known))}", param_hint="--plan"
        )


def run(ctx: click.Context, action: Callable[[Base], Awaitable[T]]) -> T:
    """Do one thing with the installation's registry; see ``operate``."""
    return operate(ctx, action, _REFUSALS)


def check_bank(base: Base, bank: str | None) -> None:
    """Refuse the code of a bank that the directory does not have."""
    from settlement.bootstrap import bank_directory

    codes = [code for code in bank_directory(base.settings).banks if code != SWITCH]
    if bank is not None and bank not in codes:
        raise click.BadParameter(f"there is no bank {bank}; there are {', '.join(codes)}", param_hint="--bank")


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
