"""The till at work: the asynchronous terminal on a loop of its own, which stands still while a person is asked."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from terminal_sdk.cli.failures import Interrupted
from terminal_sdk.cli.home import Home, TillSettings
from terminal_sdk.cli.interrupts import CtrlC
from terminal_sdk.client import Credentials, Terminal
from terminal_sdk.errors import JournalError
from terminal_sdk.journal import Journal
from terminal_sdk.results import AnyResult, NotYetKnown, Refunded

T = TypeVar("T")
_NAMED_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """An open till. ``run`` drives the terminal's calls; between them no loop runs, so that prompts heed Ctrl-C."""

    settings: TillSettings
    journal: Journal
    terminal: Terminal
    ctrl_c: CtrlC

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """One call of the terminal, to its end. Raises what it raises, and ``KeyboardInterrupt``."""
        return self.ctrl_c.run(call)

    def follow(self, result: AnyResult, wait_s: float) -> AnyResult:
        """Wait for what is not final yet. Ctrl-C ends the waiting, and nothing else, once the outcome is decided.

        Raises ``KeyboardInterrupt`` while it is not.
        """
        try:
            if isinstance(result, Refunded) or (isinstance(result, NotYetKnown) and result.operation == "refund"):
                return self.run(self.terminal.wait_refund(result, timeout_s=wait_s))
            return self.run(self.terminal.wait(result, timeout_s=wait_s))
        except KeyboardInterrupt:
            if isinstance(result, NotYetKnown):
                raise
            return result

    def mark_handed_out(self, result: AnyResult) -> None:
        """The outcome was shown, its receipt printed. What the journal cannot take comes once more."""
        with suppress(JournalError):
            self.journal.mark_handed_out(result.idempotency_key, dt.datetime.now(dt.UTC))

    def name_open_attempts(self) -> None:
        """Tell on standard error what an earlier run left open. Raises ``JournalError``."""
        entries = self.journal.open_entries()
        for entry in entries[:_NAMED_MAX]:
            click.echo(
                f"Open since an earlier run 未决: {entry.idempotency_key} ({entry.operation}, {entry.state})",
                err=True,
            )
        if entries:
            more = f"{len(entries)} in all; " if len(entries) > _NAMED_MAX else ""
            click.echo(f"{more}settlement-terminal journal recover brings them to an end", err=True)

    @contextmanager
    def minding_ctrl_c(self, key: str | None = None) -> Iterator[None]:
        """Around whatever may leave an attempt behind: Ctrl-C then names it. ``key``: the attempt of this run.

        From here until the till is closed, Ctrl-C only cuts the waiting short. Raises ``Interrupted``, or
        ``click.Abort`` if nothing was written.
        """
        self.ctrl_c.arm()
        try:
            yield
        except KeyboardInterrupt:
            entry = None if key is None else self.journal.find(key)
            if entry is not None and entry.state == "answered":
                raise Interrupted([entry.idempotency_key], answered=True) from None
            open_keys = [each.idempotency_key for each in self.journal.open_entries()]
            if open_keys:
                raise Interrupted(open_keys) from None
            raise click.Abort from None


@contextmanager
def open_till(home: Home) -> Iterator[Till]:
    """The till of a folder, ready to work; nothing is sent yet.

    Raises ``HomeInvalid``, ``CredentialsInvalid``, ``JournalError``, ``InvalidRequest`` (the address).
    """
    settings = home.settings()
    own = home.credentials()
    with home.journal(own) as journal, asyncio.Runner() as runner:
        terminal = _terminal(settings, own, journal)
        runner.run(_entered(terminal))
        ctrl_c = CtrlC(runner)
        try:
            yield Till(settings=settings, journal=journal, terminal=terminal, ctrl_c=ctrl_c)
        finally:
            runner.run(terminal.__aexit__(None, None, None))
            ctrl_c.disarm()


def _terminal(settings: TillSettings, own: Credentials, journal: Journal) -> Terminal:
    return Terminal(settings.base_url, own.terminal_id, own.key, own.certificate, journal, tls=settings.tls())


async def _entered(terminal: Terminal) -> None:
    await terminal.__aenter__()
