"""Which settlement a command is about: by the service's number, by key, or the newest one of this till."""

from __future__ import annotations

from typing import TypedDict

import click

from terminal_sdk.cli.till import Till


class Target(TypedDict, total=False):
    """What ``Terminal.status`` and ``Terminal.reverse`` take; exactly one of the two."""

    settlement_id: str
    idempotency_key: str


def check_target(settlement_id: str | None, key: str | None, *, last: bool) -> None:
    """Exactly one way to name it. Raises ``click.UsageError``."""
    if (settlement_id is not None) + (key is not None) + last != 1:
        raise click.UsageError("say which settlement: --id ID, --key KEY or --last, one of them")


def target_of(till: Till, settlement_id: str | None, key: str | None) -> Target:
    """The one that is meant; with neither, the newest attempt to settle in the journal. Raises ``click.UsageError``."""
    if settlement_id is not None:
        return Target(settlement_id=settlement_id)
    return Target(idempotency_key=key if key is not None else last_key(till))


def last_key(till: Till) -> str:
    """The key of the newest attempt to settle. Raises ``click.UsageError`` where there is none."""
    newest = till.journal.recent(1, operation="settlement")
    if not newest:
        raise click.UsageError("the journal holds no settlement of this till yet")
    return newest[0].idempotency_key
