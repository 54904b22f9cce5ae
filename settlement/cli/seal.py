"""`settlement seal`: sign what is new in the books, by hand or in a process of its own, and carry seals outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING

import click

from settlement.cli.operating import operate
from settlement.ledger.seals.reading import read_seals
from settlement.ledger.seals.seal import SealError
from settlement.security.authorities import AuthorityError

if TYPE_CHECKING:
    from settlement.bootstrap import Base
    from settlement.ledger.seals.seal import Seal

_REFUSALS = (SealError, AuthorityError)


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Make one seal and end.")
@click.pass_context
def seal(ctx: click.Context, once: bool) -> None:
    """Seal every row that is committed and in no seal yet, now and each seal_interval_s seconds, until Ctrl-C.

    A running service does the same by itself; both may run, the work is done once. Each seal is printed as
    NUMBER:DIGEST, by which `settlement verify --expect-seal` knows it again: keep it outside the database.
    """
    if ctx.invoked_subcommand is None:
        operate(ctx, _seal_once if once else _seal_on, _REFUSALS)


async def _seal_once(base: Base) -> None:
    from settlement.bootstrap import open_sealer

    sealer = open_sealer(base)
    made = await sealer.seal()
    if made is None:
        left = await sealer.unsealed()
        known = f"the last seal is {sealer.last.label}" if sealer.last else "there is no seal yet"
        click.echo(f"another process is sealing; {known}" if left else f"nothing new; {known}")
    else:
        _tell(made)


async def _seal_on(base: Base) -> None:
    from settlement.bootstrap import open_sealer

    interval_s = base.settings.seal_interval_s
    if not interval_s:
        raise click.ClickException("seal_interval_s is 0; set it, or use `settlement seal --once`")
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    sealer = open_sealer(base)
    click.echo(f"sealing what is new, now and each {interval_s} s, until Ctrl-C", err=True)
    while not over.is_set():
        if made := await sealer.seal(not_within_s=interval_s * 0.9):
            _tell(made)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), interval_s)


@seal.command()
@click.option("--after", default=0, type=click.IntRange(0), metavar="NUMBER", help="Only seals with a higher number.")
@click.pass_context
def export(ctx: click.Context, after: int) -> None:
    """Print seals, a line of JSON each: label, the signed statement, signature in hex; for keeping outside.

    Whoever holds such a line can prove later what the books were, and that a seal has been removed.
    """

    async def print_all(base: Base) -> None:
        async for each in read_seals(base.pool, after):
            line = {
                "seal": each.label,
                "statement": each.statement.to_be_signed().decode("ascii"),
                "signature": each.signature.hex(),
            }
            click.echo(json.dumps(line))

    operate(ctx, print_all, _REFUSALS)


def _tell(made: Seal) -> None:
    click.echo(f"{made.label}  {made.statement.rows} rows  {made.statement.signed_at:%Y-%m-%d %H:%M:%SZ}")
