"""``settlement bank-faults``: have a running bank host misbehave, over its admin HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, get_args

import aiohttp
import click
import msgspec

from settlement.stubs.bankhost.client import AdminError, BankHostAdmin
from settlement.stubs.bankhost.command import DEFAULT_ADMIN_PORT
from settlement.stubs.bankhost.wire import Action, Fault, FaultSpec, Part

T = TypeVar("T")

_ALWAYS = 0


def _ask(admin: str, call: Callable[[BankHostAdmin], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with BankHostAdmin(admin) as host:
            return await call(host)

    try:
        return asyncio.run(asked())
    except AdminError as error:
        raise click.ClickException(str(error)) from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise click.ClickException(f"no bank host answers at {admin}: {error}") from None


_admin = click.option(
    "--admin",
    default=f"http://127.0.0.1:{DEFAULT_ADMIN_PORT}",
    show_default=True,
    metavar="URL",
    help="Admin address of the bank host.",
)
_bank = click.option("--bank", metavar="CODE", help="Code of the bank; else every bank of the host.")


@click.group("bank-faults")
def bank_faults() -> None:
    """Have a bank host misbehave: late, doubled, wrong, torn or endless answers, or none.

    docs/reference/bank-link.md says what each fault does.
    """


@bank_faults.command("add")
@click.argument("action", type=click.Choice(get_args(Action)), metavar="ACTION")
@_admin
@_bank
@click.option("--mti", help="Only messages of this type: 0200, 0220, 0400, 0600; 0800 for network messages.")
@click.option("--processing-code", help="Only messages with this field 3: 200000 is a void or a refund.")
@click.option("--network-code", help="Only network messages with this field 70: 001 is a sign-on, 301 an echo.")
@click.option("--reference", help="Only the message with this field 37.")
@click.option(
    "--count", type=click.IntRange(min=0), default=1, show_default=True, help="How often; 0: until it is cleared."
)
@click.option("--probability", type=float, default=1.0, show_default=True, help="How likely on each message.")
@click.option("--delay-ms", type=int, default=0, help="How late; see the page for other actions.")
@click.option("--when", type=click.Choice(["before_commit", "after_commit"]), help="On which side of the booking.")
@click.option("--code", help="Field 39 of answer_code.")
@click.option("--frames", type=int, default=1, show_default=True, help="Copies, or unsolicited answers.")
@click.option(
    "--part", type=click.Choice(get_args(Part)), default="reference", show_default=True, help="Of wrong_identity."
)
def add(action: str, admin: str, mti: str | None, count: int, **given: Any) -> None:
    """Set a fault: ACTION on messages that match, or on new connections."""
    match = {"mti": mti, **{name: given.pop(name) for name in ("processing_code", "network_code", "reference")}}
    raw = {**given, "action": action, "match": match, "count": None if count == _ALWAYS else count}
    try:
        spec = msgspec.convert(raw, FaultSpec)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None
    click.echo(_line(_ask(admin, lambda host: host.add_fault(spec))))


@bank_faults.command("list")
@_admin
def show(admin: str) -> None:
    """All faults, spent ones too."""
    for fault in _ask(admin, lambda host: host.faults()):
        click.echo(_line(fault))


@bank_faults.command("clear")
@_admin
@_bank
def clear(admin: str, bank: str | None) -> None:
    """Take the faults away."""
    _ask(admin, lambda host: host.clear_faults(bank))


@bank_faults.command("hang-up")
@_admin
@_bank
def hang_up(admin: str, bank: str | None) -> None:
    """Close every connection at once, so that faults of new connections show."""
    _ask(admin, lambda host: host.hang_up(bank))


def _line(fault: Fault) -> str:
    wanted = {name: value for name, value in msgspec.structs.asdict(fault.spec.match).items() if value is not None}
    shown = " ".join(f"{name}={value}" for name, value in wanted.items() if name != "pan")
    left = "always" if fault.remaining is None else f"{fault.remaining} left"
    return " ".join(
        filter(
            None, [f"{fault.id}", fault.spec.bank or "any", fault.spec.action, shown, f"played {fault.played},", left]
        )
    )
