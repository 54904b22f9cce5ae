"""``settlement-terminal enrol``: make this machine a till, once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import click
import msgspec

from terminal_sdk.cli.exits import Exit, exit_lines
from terminal_sdk.cli.failures import TillCommand
from terminal_sdk.cli.gathering import hidden
from terminal_sdk.cli.home import Home, PrinterSettings, TillSettings
from terminal_sdk.cli.options import home_option, json_option
from terminal_sdk.cli.profiles import PROFILES, ProfileName
from terminal_sdk.cli.speaking import json_text
from terminal_sdk.cli.text import table
from terminal_sdk.client import Credentials, Terminal
from terminal_sdk.errors import InvalidRequest

_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


@click.command(
    cls=TillCommand,
    short_help="Make this machine a till, once.",
    epilog=exit_lines(
        Exit.DONE, Exit.GIVEN_UP, Exit.USAGE, Exit.UNREACHABLE, Exit.ENROLMENT_REFUSED, Exit.HOME, Exit.FAILURE
    ),
)
@home_option
@click.option(
    "--service", "base_url", metavar="URL", required=True, help="Address of the service, as the operator says."
)
@click.option(
    "--terminal", "terminal_id", metavar="ID", required=True, help="Terminal number, eight characters 终端号."
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    required=True,
    help="What counter it is: a pharmacy asks for agreement to a ceiling, a hospital shows a quote first.",
)
@click.option("--code-stdin", is_flag=True, help="Read the enrolment code from standard input instead of asking.")
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authorities (PEM) to trust behind an https address, in place of the system's.",
)
@click.option(
    "--reader", metavar="NAME|auto", help="The till's reader, for commands that name neither card nor reader."
)
@click.option("--printer", metavar="FILE", help="The till's ESC/POS printer: a device, or a file to append to.")
@json_option
def enrol(
    home: Home,
    base_url: str,
    terminal_id: str,
    profile: str,
    code_stdin: bool,
    ca: Path | None,
    reader: str | None,
    printer: str | None,
    as_json: bool,
) -> None:
    """Enrol this machine under a terminal number with the operator's one-time code 注册终端.

    The key is made here and never leaves the till's folder. The code is asked for, hidden; it is never an argument. If
    the answer was lost, run the same command again. Where the folder is enrolled already, only its settings are
    written anew.
    """
    try:
        settings = msgspec.convert(
            msgspec.to_builtins(
                TillSettings(
                    base_url=base_url,
                    terminal_id=terminal_id,
                    profile=cast("ProfileName", profile),
                    ca=str(ca.absolute()) if ca else None,
                    reader=reader,
                    printer=PrinterSettings(device=printer),
                )
            ),
            TillSettings,
        )
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error
    home.make()
    code = _code(code_stdin) if _needs_code(home) else ""
    own = asyncio.run(Terminal.enrol(base_url, terminal_id, code, home.credentials_file, tls=settings.tls()))
    home.write_settings(settings)
    _show(home, own, settings, as_json=as_json)


def _needs_code(home: Home) -> bool:
    from terminal_sdk.errors import CredentialsInvalid

    try:
        return not home.credentials_file.exists() or not Credentials.load(home.credentials_file)
    except CredentialsInvalid:
        return True


def _code(from_stdin: bool) -> str:
    typed = (
        sys.stdin.readline() if from_stdin else hidden("Enrolment code 注册码", instead="programs give --code-stdin")
    )
    code = typed.strip()
    if not code:
        raise click.UsageError("the enrolment code is missing; the operator gives one for each terminal")
    return code


def _show(home: Home, own: Credentials, settings: TillSettings, *, as_json: bool) -> None:
    address = urlsplit(settings.base_url)
    if address.scheme == "http" and address.hostname not in _LOCAL:
        click.echo("Warning: over any network that is not yours alone, use an https address", err=True)
    until = own.certificate.not_after
    if as_json:
        view = {
            "terminal_id": own.terminal_id,
            "institution_id": own.institution_id,
            "certificate_not_after": until.isoformat(),
            "profile": settings.profile,
            "home": str(home.folder),
        }
        click.echo(json_text(view))
        return
    rows = [
        ("Terminal 终端", own.terminal_id),
        ("Institution 机构", own.institution_id),
        ("Certificate valid until 证书有效期", f"{until:%Y-%m-%d}"),
        ("Profile 类型", settings.profile),
        ("Folder 目录", str(home.folder)),
    ]
    click.echo("\n".join(table(rows)))
