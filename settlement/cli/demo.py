"""`settlement demo`: the main job from beginning to end, on this machine, with everything real but the plastic."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settlement.cli.failures import told

if TYPE_CHECKING:
    from rich.console import Console

    from settlement.bootstrap import Base
    from settlement.cli.demonstration.play import Tally
    from settlement.cli.demonstration.processes import Partners
    from settlement.cli.demonstration.stories import Told
    from settlement.cli.verify import Proof
    from settlement.config import Settings
    from terminal_sdk import Terminal

_FINAL_WAIT_S = 60.0
_FILE_COLUMNS = 120


@click.command()
@click.option("--patients", type=click.IntRange(1, 100_000), default=27, show_default=True, help="How many bills.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Who comes and with what; the same again for a seed."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the summary there.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="Port of the service; 0: free."
)
@click.option("--stay", is_flag=True, help="Keep service and banks running until Ctrl-C.")
@click.option("--receipts/--no-receipts", default=True, help="Print one receipt of the run.")
def demo(patients: int, seed: int, json_file: Path | None, port: int, stay: bool, receipts: bool) -> None:
    """Settle real bills from virtual cards at virtual terminals, and prove the books.

    Starts an embedded PostgreSQL (or uses SETTLEMENT_DATABASE_URL), three bank host processes that play eleven banks
    and the switch, and the service; enrols four terminals; lets the patients come, one kind of bill after another;
    waits until nothing is in doubt and verifies the ledger against the banks' own books. May be run again on the same
    data.
    Exit status 0: every bill ended as it must and there are 0 violations.
    """
    from settlement.bootstrap import prepare_installation
    from settlement.clock import SystemClock
    from settlement.config import load_settings
    from settlement.db.server import database_server
    from settlement.logging import configure_logging

    with told():
        settings = load_settings(os.environ)
        configure_logging("console", "error")
        click.echo(f"data      {settings.data_dir}")
        prepare_installation(settings, SystemClock())
        with database_server(settings) as running:
            good = asyncio.run(_demo(running, patients, seed, json_file, port, stay, receipts))
    if not good:
        raise SystemExit(2)


async def _demo(
    settings: Settings, patients: int, seed: int, json_file: Path | None, port: int, stay: bool, receipts: bool
) -> bool:
    from settlement.bootstrap import open_base, zone_master_key
    from settlement.cli.demonstration.city import Bank, open_terminals
    from settlement.cli.demonstration.play import ORDER_OF_BANKS, play
    from settlement.cli.demonstration.processes import running_partners
    from settlement.stubs.bankhost.client import BankHostAdmin

    folder = settings.data_dir / "demo"
    async with contextlib.AsyncExitStack() as stack:
        base = await stack.enter_async_context(open_base(settings))
        click.echo(f"database  PostgreSQL {(await base.pool.fetchval('show server_version')).split()[0]}")
        partners = await stack.enter_async_context(running_partners(settings, zone_master_key(base.keys), folder, port))
        click.echo(f"banks     {len(partners.directory.banks)} links in {len(partners.hosts)} bank host processes")
        click.echo(f"service   {partners.service.base_url}")
        admins = {host: await stack.enter_async_context(BankHostAdmin(host.admin_url)) for host in partners.hosts}
        banks = [
            Bank(code, admins[partners.host_of(code)], partners.directory[code].offers_inquiry)
            for code in ORDER_OF_BANKS
        ]
        terminals = await open_terminals(base, partners.service.base_url, folder / "terminals")
        began = time.monotonic()
        with _live(patients) as each:
            tally = await play(
                base, terminals, banks, patients=patients, seed=seed, run=f"D{secrets.token_hex(4)}", each=each
            )
        elapsed_s = time.monotonic() - began
        proof = await _prove_when_final(base, partners)
        _report(tally, proof, elapsed_s)
        if receipts:
            await _print_receipt(terminals, tally)
        if json_file is not None:
            summary = _summary(tally, proof, elapsed_s)
            await asyncio.to_thread(json_file.write_text, summary, encoding="utf-8")
        for line in proof.lines():
            click.echo(line)
        good = not tally.failures and proof.violations == 0 and proof.ledger.counts["open_legs"] == 0
        if stay:
            await _stay(partners)
        return good


@contextlib.contextmanager
def _live(patients: int) -> Iterator[Callable[[str, Told], None]]:
    """Bills as they settle, above a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("settling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console()) as progress:
        task = progress.add_task("settling", total=patients)

        def each(terminal_id: str, story: Told) -> None:
            amounts = (
                f"insurance {_yuan(story.insurance_fen)}  bank {_yuan(story.bank_fen)}  cash {_yuan(story.cash_fen)}"
            )
            progress.console.print(f"{terminal_id}  {story.kind:<24} {story.outcome:<36} {amounts}", highlight=False)
            progress.advance(task)

        yield each


async def _prove_when_final(base: Base, partners: Partners) -> Proof:
    """Wait until recovery has closed every leg, at most a minute, then seal and prove."""
    from settlement.bootstrap import open_sealer
    from settlement.cli.verify import prove
    from settlement.security.seal_key import own_seal_certificates

    until = time.monotonic() + _FINAL_WAIT_S
    while await base.pool.fetchval("select exists (select from leg where next_attempt_at is not null)"):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.25)
    await open_sealer(base).seal()
    return await prove(base.pool, partners.admin_urls, own_seal_certificates(base.settings.pki_dir))


def _console() -> Console:
    """The terminal; where output goes to a file, wide enough for a line a bill."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_FILE_COLUMNS)


def _report(tally: Tally, proof: Proof, elapsed_s: float) -> None:
    from rich.table import Table

    groups: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for story in tally.told:
        groups[story.kind, story.outcome].append(story)
    table = Table(title="settled bills by kind (yuan)")
    for column in ("kind", "outcome", "bills", "insurance", "bank", "cash"):
        table.add_column(column, justify="left" if column in {"kind", "outcome"} else "right")
    for (kind, outcome), stories in groups.items():
        sums = [sum(getattr(each, f"{payer}_fen") for each in stories) for payer in ("insurance", "bank", "cash")]
        table.add_row(kind, outcome, str(len(stories)), *map(_yuan, sums))
    console = _console()
    console.print(table)
    console.print(f"{len(tally.told)} bills in {elapsed_s:.1f} s", highlight=False)
    for failure in tally.failures:
        console.print(f"[red]FAILED[/red] {failure}", highlight=False)


async def _print_receipt(terminals: Sequence[Terminal], tally: Tally) -> None:
    from terminal_sdk import RequestRefused

    chosen = next((each.receipt_id for each in tally.told if each.receipt_id and each.bank_fen), None)
    if chosen is None:
        return
    for terminal in terminals:
        with contextlib.suppress(RequestRefused):
            async with terminal:
                click.echo(await terminal.receipt(chosen, text=True))
                return


def _summary(tally: Tally, proof: Proof, elapsed_s: float) -> str:
    kinds: dict[str, dict[str, int]] = {}
    for each in tally.told:
        kind = kinds.setdefault(each.kind, {"bills": 0, "insurance_fen": 0, "bank_fen": 0, "cash_fen": 0})
        kind["bills"] += 1
        for payer in ("insurance", "bank", "cash"):
            kind[f"{payer}_fen"] += getattr(each, f"{payer}_fen")
    summary = {
        "bills": len(tally.told),
        "kinds": kinds,
        "failures": tally.failures,
        "elapsed_ms": round(elapsed_s * 1_000),
        "verify": json.loads(proof.as_json()),
    }
    return json.dumps(summary, ensure_ascii=False, indent=2) + "\n"


async def _stay(partners: Partners) -> None:
    over = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, over.set)
    hosts = " ".join(partners.admin_urls)
    click.echo(f"staying: service {partners.service.base_url}/docs, bank hosts {hosts}; Ctrl-C ends")
    sys.stdout.flush()
    await over.wait()


def _yuan(amount_fen: int) -> str:
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"
