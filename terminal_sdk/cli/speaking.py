"""What is said on the screen: an outcome stands whether or not anybody could read it, so saying it never fails."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any, TextIO

import click


def say(text: str, *, err: bool = False, newline: bool = True) -> None:
    """Print on standard output, or standard error. Never raises: the bill is paid or not, whoever reads of it.

    If standard output is closed or its disk is full, standard error tells so, once.
    """
    try:
        click.echo(text, err=err, nl=newline)
    except OSError as error:
        _give_up(sys.stderr if err else sys.stdout)
        if not err:
            _Screen.lost = True
            say(f"Warning: standard output cannot be written: {error.strerror}; the exit code tells", err=True)


def screen_is_lost() -> bool:
    """Whether something could not be written on standard output, so that nobody has read it."""
    return _Screen.lost


class _Screen:
    lost = False


def json_text(view: Any) -> str:
    """One JSON object; characters that standard output cannot write are escaped in it, not lost."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "ascii").lower()
    # Where a system claims no more than ASCII, what it means is UTF-8, and so click writes it.
    escaped = not encoding.startswith(("utf", "ascii", "ansi_x3", "us-ascii"))
    return json.dumps(view, ensure_ascii=escaped, indent=2)


def prepare_screen() -> None:
    """Before anything is said: characters that a screen lacks become ``?``, and logged warnings one line each."""
    for stream in (sys.stdout, sys.stderr):
        # A patient's rare character must not fail the program after the bill was paid (GBK, Latin-1 and the like).
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    for name in ("terminal_sdk", "asyncio"):
        log = logging.getLogger(name)
        if not any(isinstance(handler, _OneLine) for handler in log.handlers):
            log.addHandler(_OneLine(logging.WARNING))


class _OneLine(logging.Handler):
    """A warning for whoever stands at the till: without a stack trace, which could hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"Warning: {record.getMessage().splitlines()[0]}", err=True)


def _give_up(stream: TextIO) -> None:
    """Let the rest go nowhere; else the interpreter tries once more at the end, and its failure is the exit code."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # no descriptor behind it, as under a test runner
        return
