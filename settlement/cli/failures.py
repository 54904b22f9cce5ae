"""Expected failures of commands as one line for the operator instead of a stack trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from settlement.banks.directory import DirectoryError
from settlement.childprocess import ChildError
from settlement.config import ConfigError
from settlement.db.errors import DatabaseError
from settlement.policy.planfile import PlanError
from settlement.security import KeyRingError
from settlement.security.authorities import AuthorityError

EXPECTED = (AuthorityError, ChildError, ConfigError, DatabaseError, DirectoryError, KeyRingError, PlanError)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn what can go wrong in an installation into a ``click.ClickException`` (exit status 1)."""
    try:
        yield
    except EXPECTED as error:
        raise click.ClickException(str(error)) from error
