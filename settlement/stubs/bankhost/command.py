"""The command that runs the bank host: which banks, where, with which books and keys."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from settlement.banks.directory import (
    ZONE_KEY_BYTES,
    Directory,
    DirectoryError,
    default_directory,
    derive_zone_keys,
    load_directory,
)
from settlement.logging import configure_logging
from settlement.stubs.bankhost.profile import Duplicates, Profile, profile_of
from settlement.stubs.bankhost.service import BankHostService

ZONE_MASTER_VARIABLE = "BANK_HOST_ZONE_MASTER"
DEFAULT_ADMIN_PORT = 18_500
DEFAULT_DATA_DIR = Path(".data/bankhost")
_PORT_MOST = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What the command line says."""

    bank: tuple[str, ...]
    directory: Path | None
    data_dir: Path
    host: str
    port: tuple[str, ...]
    free_ports: bool
    admin_host: str
    admin_port: int
    duplicates: str | None
    zone_master_file: Path | None
    seed: int | None
    watch_stdin: bool


def options(command: click.Command) -> click.Command:
    """Give a command the options of ``HostOptions``."""
    path = click.Path(path_type=Path)
    command.params += [
        click.Option(["--bank"], multiple=True, default=("all",), show_default=True, help="Code of a bank, or all."),
        click.Option(["--directory"], type=path, help="TOML file with the banks; else the built-in directory."),
        click.Option(["--data-dir"], type=path, default=DEFAULT_DATA_DIR, show_default=True, help="The banks' books."),
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address of the banks' ports."),
        click.Option(["--port"], multiple=True, metavar="CODE=PORT", help="Another port than the directory's."),
        click.Option(["--free-ports"], is_flag=True, help="Take free ports; the first line printed names them."),
        click.Option(["--admin-host"], default="127.0.0.1", show_default=True, help="Address of the admin HTTP."),
        click.Option(
            ["--admin-port"],
            type=click.IntRange(0, _PORT_MOST),
            default=DEFAULT_ADMIN_PORT,
            show_default=True,
            help="Port of the admin HTTP; 0 takes a free one.",
        ),
        click.Option(
            ["--duplicates"],
            type=click.Choice([str(policy) for policy in Duplicates]),
            help="What every bank answers to a repeated debit; by default some do this and some that.",
        ),
        click.Option(
            ["--zone-master-file"],
            type=path,
            help=f"File with the 32 hex digits that the banks' zone keys come from (else ${ZONE_MASTER_VARIABLE}).",
        ),
        click.Option(["--seed"], type=int, help="Makes faults that happen by chance repeatable."),
        click.Option(["--watch-stdin"], is_flag=True, help="Stop when standard input ends, as when the parent dies."),
    ]
    return command


def given_zone_master(chosen: HostOptions, environ: Mapping[str, str]) -> bytes | None:
    """The zone master key from file or environment, None when neither is given. Raises ``click.ClickException``."""
    if chosen.zone_master_file is not None:
        try:
            text = chosen.zone_master_file.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{chosen.zone_master_file}: cannot be read: {error}") from None
    else:
        text = environ.get(ZONE_MASTER_VARIABLE, "")
    if not text.strip():
        return None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != ZONE_KEY_BYTES:
        raise click.ClickException(f"the zone master key must be {2 * ZONE_KEY_BYTES} hex digits")
    return key


def run(chosen: HostOptions, zone_master: bytes) -> None:
    """Run the banks until told to stop. Raises ``click.ClickException`` for a bad option or an address in use."""
    try:
        directory = default_directory() if chosen.directory is None else load_directory(chosen.directory)
    except DirectoryError as error:
        raise click.ClickException(str(error)) from None
    service = BankHostService(
        _profiles(chosen, directory),
        derive_zone_keys(zone_master, directory),
        chosen.data_dir,
        host=chosen.host,
        admin_host=chosen.admin_host,
        admin_port=chosen.admin_port,
        seed=chosen.seed,
    )
    configure_logging("json")
    try:
        asyncio.run(_serve(service, watch_stdin=chosen.watch_stdin))
    except OSError as error:
        raise click.ClickException(f"cannot start: {error}") from None


async def _serve(service: BankHostService, *, watch_stdin: bool) -> None:
    over = asyncio.Event()
    if watch_stdin:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_wait_for_end, args=(loop, over), daemon=True, name="stdin").start()
    await service.run(_announce, over)


def _wait_for_end(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    loop.call_soon_threadsafe(over.set)


def _announce(service: BankHostService) -> None:
    """One line of JSON, so that whoever started this process knows that and where it listens."""
    click.echo(json.dumps({"ready": True, "ports": service.ports, "admin": service.admin_port}))
    sys.stdout.flush()


def _profiles(chosen: HostOptions, directory: Directory) -> list[Profile]:
    known = set(directory.banks)
    codes = known if "all" in chosen.bank else set(chosen.bank)
    if codes - known:
        raise click.BadParameter(
            f"no such bank: {', '.join(sorted(codes - known))}; known: {', '.join(directory.banks)}"
        )
    ports = _ports(chosen.port, codes)
    duplicates = Duplicates(chosen.duplicates) if chosen.duplicates else None
    return [
        profile_of(bank, port=ports.get(bank.code, 0 if chosen.free_ports else None), duplicates=duplicates)
        for bank in directory
        if bank.code in codes
    ]


def _ports(given: tuple[str, ...], codes: set[str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for item in given:
        code, _, port = item.partition("=")
        if code not in codes or not port.isdecimal() or not port.isascii() or int(port) > _PORT_MOST:
            raise click.BadParameter(f"--port {item}: expected CODE=PORT of a bank that is played here")
        ports[code] = int(port)
    return ports
