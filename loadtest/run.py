"""One load test from beginning to end: stand, people, plan, load, drain, proof, report."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import cpu
from loadtest.books import Comparison, compare_with_ledger
from loadtest.crowd import LEAD_S, Crowd, CrowdReport
from loadtest.figures import Reading
from loadtest.floor import Equipment, Floor
from loadtest.plan import Plan, make_plan
from loadtest.population import Patient, admit, enrol_terminals
from loadtest.prepared import sign_ahead
from loadtest.shapes import Profile
from loadtest.stand import Stand, attached_stand, running_stand
from loadtest.till_user import TillUser
from loadtest.tills import Till, in_memory, journal_folder, open_tills
from loadtest.visits import Visit
from settlement.businessdate import SHANGHAI
from settlement.cli.verify import Proof
from terminal_sdk import NotYetKnown, Reversed, TerminalError
from terminal_sdk.wire import CardProof

SWITCH = "SWITCH"
_SIGNED_A_SECOND = 400
_POLL_S = 0.1
_LAST_WAIT_S = 30.0

Bars = Callable[[str, int], Callable[[int], object]]
"""Opens a progress bar: what it shows and how many there are → told how many more are done."""
Gauge = Callable[[int], object]
"""Told how many are done in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a run. ``service``: address of a running one, with its ``bank_hosts``; None: a stand of our own.

    ``data``: keep the stand's data there; ``journals``: the tills' journals; ``hold_s``: how long a user is reckoned to
    be busy with one patient; ``drain_s``: how long to wait after the last arrival until nothing is open.
    """

    profile: Profile
    seed: int
    tills: int
    users: Sequence[type[TillUser]]
    patients: int | None = None
    hot_share: float = 0.1
    hold_s: float = 10.0
    drain_s: float = 180.0
    database_url: str | None = None
    service: str | None = None
    bank_hosts: tuple[str, ...] = ()
    data: Path | None = None
    journals: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a run brought to light.

    ``begin`` and ``end``: CPU at the beginning of the run and when the last arrivals were due. ``drain_s``: from then
    until no bill was under way and no leg open; None: some still were when the time for it was over.
    """

    plan: Plan
    visits: Sequence[Visit]
    crowd: CrowdReport
    begin: Reading
    end: Reading
    drain_s: float | None
    proof: Proof
    comparison: Comparison
    still_open: int
    database: str
    journals_in_memory: bool


async def run(options: Options, folder: Path, bars: Bars) -> Findings:
    """Everything; ``folder`` is for the stand if no place for its data was given. Raises what the stand raises."""
    async with _stand(options, folder) as stand:
        plan = make_plan(
            seed=options.seed,
            profile=options.profile,
            kinds=[user.kind for user in options.users],
            tills=options.tills,
            run=f"L{secrets.token_hex(4)}",
            banks=sorted(set(stand.banks) - {SWITCH}),
            patients=options.patients,
            hot_share=options.hot_share,
        )
        with journal_folder(options.journals) as journals:
            async with equipped(stand, plan, journals, bars) as (tills, patients):
                return await _load(options, stand, plan, tills, patients, in_memory(journals), bars)


@contextlib.asynccontextmanager
async def _stand(options: Options, folder: Path) -> AsyncIterator[Stand]:
    if options.service is not None:
        async with attached_stand(options.service, options.bank_hosts, options.data or folder) as stand:
            yield stand
        return
    keep = options.data is not None
    async with running_stand(options.data or folder, dsn=options.database_url, keep=keep) as stand:
        yield stand


@contextlib.asynccontextmanager
async def equipped(
    stand: Stand, plan: Plan, journals: Path, bars: Bars
) -> AsyncIterator[tuple[dict[str, Till], list[Patient]]]:
    """Terminals enrolled, patients admitted, and the tills open: by terminal id, and as planned."""
    terminals = sum(map(len, plan.terminals.values()))
    enrolled = bars("terminals enrolled", terminals)
    credentials = [
        own
        for kind in plan.kinds
        for own in await enrol_terminals(stand, kind.institution, plan.terminals[kind.name], advance=enrolled)
    ]
    patients = await admit(stand, plan.patients, advance=bars("patients admitted", len(plan.patients)))
    async with open_tills(stand.base_url, credentials, journals, bars("tills signed in", terminals)) as tills:
        yield tills, patients


async def _load(
    options: Options,
    stand: Stand,
    plan: Plan,
    tills: dict[str, Till],
    patients: list[Patient],
    journals_in_memory: bool,
    bars: Bars,
) -> Findings:
    proofs, start_ms = await signed_ahead(plan, patients, bars)
    equipment = Equipment(tills=tills, patients=patients, proofs=proofs)
    service_date = stand.base.clock.now().astimezone(SHANGHAI).date()
    floor = Floor(plan, equipment, asyncio.get_running_loop(), start_ms, service_date)
    last_ms = plan.profile.duration_s * 1_000
    give_up_ms = last_ms + options.drain_s * 1_000
    crowd = Crowd(floor, options.users, stand.base_url, hold_s=options.hold_s, give_up_ms=give_up_ms)
    served = _gauge(bars("bills served", len(plan.arrivals)))
    crowd.start()
    try:
        begin, end = await _watch(floor, stand, last_ms, served)
        drain_s = await _drained(floor, crowd, stand, last_ms, give_up_ms)
    finally:
        floor.stop()
        report = await asyncio.to_thread(crowd.join)
    served(len(floor.visits))
    await _find_out(floor)
    if drain_s is not None:
        await stand.until_final()
    return Findings(
        plan=plan,
        visits=floor.visits,
        crowd=report,
        begin=begin,
        end=end,
        drain_s=drain_s,
        proof=await stand.verify(),
        comparison=await compare_with_ledger(stand.base.pool, plan.run, floor.visits),
        still_open=await stand.open_legs(),
        database=str(await stand.base.pool.fetchval("show server_version")).split(maxsplit=1)[0],
        journals_in_memory=journals_in_memory,
    )


async def signed_ahead(plan: Plan, patients: Sequence[Patient], bars: Bars) -> tuple[dict[int, CardProof], int]:
    """All proofs that can be made before the run, each for its moment; and when the run begins (epoch ms)."""
    known = [arrival for arrival in plan.arrivals if not arrival.wish.quoted]
    signing_s = len(known) / _SIGNED_A_SECOND / (os.cpu_count() or 1)
    planned_ms = round((time.time() + signing_s + LEAD_S) * 1_000)
    orders = [arrival.order(patients[arrival.patient], planned_ms) for arrival in known]
    proofs = await sign_ahead(orders, advance=bars("proofs signed", len(orders)))
    start_ms = max(planned_ms, round((time.time() + LEAD_S) * 1_000))
    return {arrival.number: proof for arrival, proof in zip(known, proofs, strict=True)}, start_ms


def _gauge(advance: Callable[[int], object]) -> Gauge:
    shown = 0

    def show(done: int) -> None:
        nonlocal shown
        advance(done - shown)
        shown = done

    return show


async def _watch(floor: Floor, stand: Stand, last_ms: float, served: Gauge) -> tuple[Reading, Reading]:
    """CPU at the beginning and at the last planned arrival, with progress in between."""
    await asyncio.sleep(max(0.0, -floor.now_ms / 1_000))
    begin = Reading(at_ms=floor.now_ms, cpu_s=cpu.readings(stand.processes))
    while floor.now_ms < last_ms:
        await asyncio.sleep(_POLL_S)
        served(floor.ended)
    return begin, Reading(at_ms=floor.now_ms, cpu_s=cpu.readings(stand.processes))


async def _drained(floor: Floor, crowd: Crowd, stand: Stand, last_ms: float, give_up_ms: float) -> float | None:
    """Seconds from the last planned arrival until every bill has ended and no leg is open; None: given up."""
    while floor.now_ms < give_up_ms and crowd.running:
        if floor.finished and not await stand.open_legs():
            return (floor.now_ms - last_ms) / 1_000
        await asyncio.sleep(_POLL_S)
    return None


async def _find_out(floor: Floor) -> None:
    """What a till did not learn while the load ran it asks for now, as it would after a start."""

    async def ask(visit: Visit) -> None:
        main = floor.equipment.tills[visit.arrival.terminal_id].main
        with contextlib.suppress(TerminalError):
            if isinstance(visit.result, NotYetKnown):
                visit.note(await main.wait(visit.result, timeout_s=_LAST_WAIT_S), floor.now_ms)
            if isinstance(visit.reversal, NotYetKnown):
                seen = await main.wait(visit.reversal, timeout_s=_LAST_WAIT_S)
                visit.reversal = seen if isinstance(seen, Reversed) else visit.reversal

    await asyncio.gather(*(ask(visit) for visit in floor.visits))
