"""One way for every command to fail: one line on standard error that says what to do, and the exit code for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import click

from terminal_sdk.cli.exits import Exit
from terminal_sdk.cli.speaking import json_text, say
from terminal_sdk.errors import TerminalError

DEBUG_VARIABLE = "SETTLEMENT_TERMINAL_DEBUG"


class Interrupted(TerminalError):
    """Ctrl-C, or SIGTERM, came while something was on its way. ``keys``: the attempts that the journal keeps."""

    def __init__(self, keys: list[str], *, answered: bool = False) -> None:
        self.keys = keys
        names = ", ".join(keys)
        if answered:
            super().__init__(f"interrupted; attempt {names} has its answer: settlement-terminal status --key {names}")
        else:
            super().__init__(
                f"interrupted; the journal keeps {names}: it may be paid or not, do not charge in another way."
                " settlement-terminal journal recover finds out"
            )


class PrintingFailed(TerminalError):
    """The receipt could not be written to the printer or the file. Nothing about the money depends on it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a user is told. ``code``: a stable word for programs."""

    exit: Exit
    code: str
    message: str

    def as_json(self) -> str:
        """The object that stands on standard output under ``--json``."""
        body = {"exit_code": int(self.exit), "code": self.code, "message": self.message}
        return json_text({"error": body})


class TillCommand(click.Command):
    """A command whose errors of till, card, reader and service become one line and an exit code, never a stack trace.

    Set SETTLEMENT_TERMINAL_DEBUG=1 to see where a failure that nobody foresaw came from.
    """

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            failure = failure_of(error)
            if failure.exit is Exit.FAILURE and os.environ.get(DEBUG_VARIABLE):
                raise
        say(f"Error: {failure.message}", err=True)
        if ctx.params.get("as_json"):
            say(failure.as_json())
        raise click.exceptions.Exit(failure.exit)


def failure_of(error: Exception) -> Failure:
    """What to tell of an error."""
    for kind, code, hint in _known():
        if isinstance(error, kind):
            return Failure(code, _word(error), f"{error}{hint}")
    # What an unforeseen error says could hold anything, a name as well; its type tells a maintainer where to look.
    return Failure(
        Exit.FAILURE,
        "failure",
        f"an unforeseen failure ({type(error).__name__}); open attempts are in the journal:"
        f" settlement-terminal journal list. {DEBUG_VARIABLE}=1 shows where it came from",
    )


def _word(error: Exception) -> str:
    from terminal_sdk.errors import RequestRefused

    if isinstance(error, RequestRefused):
        return error.code
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def _known() -> Iterator[tuple[type[Exception], Exit, str]]:
    """Kind of error → exit code, and what to do where the error itself does not say; the first that fits counts."""
    from terminal_sdk import errors
    from terminal_sdk.card import CardError, PinBlocked, PinInvalid, PinWrong
    from terminal_sdk.cli.home import HomeInvalid
    from terminal_sdk.pin import PinBlockInvalid
    from terminal_sdk.reader import ReaderError
    from terminal_sdk.receipt.errors import FontMissing, PdfUnavailable

    again = "; nothing was changed, try again"
    yield from ((kind, Exit.PIN, "") for kind in (PinWrong, PinBlocked, PinInvalid, PinBlockInvalid))
    yield from ((kind, Exit.CARD, "") for kind in (CardError, ReaderError))
    yield from ((kind, Exit.PRINTING, "") for kind in (PrintingFailed, FontMissing, PdfUnavailable))
    yield Interrupted, Exit.NOT_YET_KNOWN, ""
    yield errors.SignInRefused, Exit.SIGN_IN_REFUSED, ""
    yield errors.EnrolmentRefused, Exit.ENROLMENT_REFUSED, ""
    yield errors.RequestRefused, Exit.REFUSED, ""
    yield errors.ServiceUnreachable, Exit.UNREACHABLE, f"{again}; base_url stands in till.toml"
    yield errors.AnswerInvalid, Exit.UNREACHABLE, "; base_url in till.toml may lead to something else"
    yield errors.AttemptStillOpen, Exit.ATTEMPT_OPEN, "; settlement-terminal journal recover, or reverse --key"
    yield errors.KeyReused, Exit.ATTEMPT_OPEN, ""
    yield errors.QueueFull, Exit.QUEUE_FULL, "; settlement-terminal forward sends them, waiting shows them"
    yield errors.ForwarderBusy, Exit.FORWARDING, ""
    yield errors.JournalError, Exit.JOURNAL, ""
    yield from ((kind, Exit.HOME, "") for kind in (HomeInvalid, errors.CredentialsInvalid))
    yield errors.InvalidRequest, Exit.USAGE, "; nothing was sent"
