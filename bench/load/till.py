"""Tills as they run: ``terminal_sdk.Terminal`` with its journal, which reaches the disk before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from bench.bills import BANK_FEN, LINES, TOTAL_FEN
from bench.load.jobs import SETTLED, TillJob
from bench.load.loops import Operation
from loadtest.prepared import CardKey, PreparedCard, ProofOrder, sign
from settlement.businessdate import SHANGHAI
from terminal_sdk import Credentials, RequestRefused, Settled, Terminal
from terminal_sdk.clock import SystemClock, epoch_ms

_NOBODYS_KEY = "bench-first-call"


@contextlib.asynccontextmanager
async def prepared(job: TillJob, clients: int) -> AsyncIterator[Sequence[Sequence[Operation]]]:
    """Open one terminal with a new journal for each client, let it sign in, and sign the proofs ahead."""
    folder = Path(job.folder)
    async with contextlib.AsyncExitStack() as stack:
        terminals = []
        for store in job.stores[:clients]:
            own = await asyncio.to_thread(Credentials.load, Path(store))
            journal = folder / f"{own.terminal_id}-{job.mark}.sqlite"
            terminal = Terminal(job.base_url, own.terminal_id, own.key, own.certificate, journal)
            terminals.append(await stack.enter_async_context(terminal))
        await asyncio.gather(*(_sign_in(terminal) for terminal in terminals))
        operations: list[list[Operation]] = [[] for _ in terminals]
        for number, card in enumerate(job.cards):
            client = number % len(terminals)
            operations[client].append(_settling(terminals[client], card, job, number))
        yield operations


async def _sign_in(terminal: Terminal) -> None:
    """The first call signs in; that nobody knows the key does not matter."""
    with contextlib.suppress(RequestRefused):
        await terminal.status(idempotency_key=_NOBODYS_KEY)


def _settling(terminal: Terminal, card: CardKey, job: TillJob, number: int) -> Operation:
    now = SystemClock().now()
    order = ProofOrder(
        card=card,
        counter=1,
        terminal_id=terminal.terminal_id,
        visit_no=f"{job.mark}-{number}",
        total_fen=TOTAL_FEN,
        agreed=f"ceiling:{BANK_FEN[job.payment]}",
        signed_at_ms=epoch_ms(now),
    )
    present = PreparedCard(order, sign(order))

    async def settle() -> str:
        result = await terminal.settle(
            card=present,
            bank_ceiling_fen=BANK_FEN[job.payment],
            pin=job.pin if job.payment == "bank" else None,
            visit_no=order.visit_no,
            visit_type="outpatient",
            service_date=now.astimezone(SHANGHAI).date(),
            lines=LINES,
        )
        return SETTLED if isinstance(result, Settled) else type(result).__name__

    return settle
