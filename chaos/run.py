"""One chaos run from beginning to end: site, people, plan, load under fire, recovery, proof."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.aftermath import Aftermath, work_off
from chaos.attack import Attack, Event, Record
from chaos.evidence import Doubt, accounts, doubts, ledger_bills, live_debits
from chaos.judge import LedgerBill, Verdict, account_sums, judge
from chaos.schedule import Blow, make_schedule
from chaos.site import Site, died, open_site
from chaos.users import USERS
from loadtest.books import Comparison, compare_with_ledger
from loadtest.crowd import Crowd, CrowdReport
from loadtest.floor import Equipment, Floor
from loadtest.plan import Plan, make_plan
from loadtest.run import Bars, equipped, signed_ahead
from loadtest.shapes import Profile
from loadtest.tills import journal_folder
from loadtest.visits import Visit
from settlement.banks.directory import SWITCH, default_directory
from settlement.businessdate import SHANGHAI
from settlement.cli.verify import Proof

_POLL_S = 0.1
_HOLD_S = 30.0
"""How long a clerk is reckoned to be busy with one patient: longer than in peace, for many wait and ask again."""

BeforeProof = Callable[[Site], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a run: ``seconds`` of load at ``rate`` arrivals a second, a blow every ``every_s`` in the mean.

    ``patience_s``: how long the schedule stands still at most, until a bill is settled again · ``tills``: terminals ·
    ``services``: services side by side, each with so many ``workers`` · ``recovery_s``: how long to wait, after the
    faults, until nothing is open · ``journals``: folder for the tills' journals; None: in memory, where there is such a
    place.
    """

    seconds: float
    rate: float
    seed: int
    every_s: float
    patience_s: float
    tills: int
    services: int
    workers: int
    recovery_s: float
    journals: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a run brought to light.

    ``struck``: blows that struck, by kind and, for links and banks, by fault · ``severed``: connections broken by links
    · ``died``: ends of processes that nobody here caused, by name ·
    ``recovery_s``: from when no fault was left until no attempt and no leg was open; None: some still were.
    """

    options: Options
    plan: Plan
    schedule: Sequence[Blow]
    struck: Mapping[str, int]
    severed: int
    died: Mapping[str, int]
    events: Sequence[Event]
    visits: Sequence[Visit]
    crowd: CrowdReport
    after: Aftermath
    recovery_s: float | None
    open_legs: int
    bills: Sequence[LedgerBill]
    doubts: Sequence[Doubt]
    verdict: Verdict
    account_sums: Sequence[str]
    comparison: Comparison
    proof: Proof
    database: str


async def run(options: Options, folder: Path, bars: Bars, before_proof: BeforeProof | None = None) -> Findings:
    """Everything; the site's files go to ``folder``. Raises what the site raises when it cannot be started.

    ``before_proof`` is called when all is at rest: what it alters, the proof must find.
    """
    record = Record()
    async with open_site(folder, options.services, options.workers, record.tell) as site:
        plan = _plan(options, site)
        schedule = make_schedule(
            seed=options.seed,
            duration_ms=round(options.seconds * 1_000),
            every_ms=round(options.every_s * 1_000),
            targets=site.targets,
        )
        with journal_folder(options.journals) as journals:
            async with equipped(site.stand, plan, journals, bars) as (tills, patients):
                proofs, start_ms = await signed_ahead(plan, patients, bars)
                equipment = Equipment(tills=tills, patients=patients, proofs=proofs)
                today = site.stand.base.clock.now().astimezone(SHANGHAI).date()
                floor = Floor(plan, equipment, asyncio.get_running_loop(), start_ms, today)
                attack = Attack(site, record, lambda: _settled(floor), options.patience_s)
                crowd = await _under_fire(options, floor, site, attack, schedule, bars)
            # The tills were closed in the middle of whatever was open, as by a power cut; their journals have it.
            record.note("tills", "all", "start again")
            after = await work_off(site.stand, tills, journals, floor.visits, options.recovery_s)
            record.note("tills", "all", "done")
        if before_proof is not None:
            await before_proof(site)
        return await _findings(options, site, attack, schedule, floor, crowd, after)


def _settled(floor: Floor) -> int:
    return sum(1 for visit in floor.visits if visit.settled_ms is not None)


def _plan(options: Options, site: Site) -> Plan:
    # At a bank that forgets refusals the reversal of what it never got rests for two days, until its statement.
    remembers = {bank.code for bank in default_directory() if bank.remembers_reversal}
    return make_plan(
        seed=options.seed,
        profile=Profile("steady", options.seconds, options.rate),
        kinds=[user.kind for user in USERS],
        tills=options.tills,
        run=f"C{secrets.token_hex(4)}",
        banks=sorted((remembers & set(site.stand.banks)) - {SWITCH}),
    )


async def _under_fire(
    options: Options, floor: Floor, site: Site, attack: Attack, schedule: Sequence[Blow], bars: Bars
) -> CrowdReport:
    """The load and the blows; returns when everything is whole again and the tills have done what they could."""
    give_up_ms = (options.seconds + options.recovery_s) * 1_000
    crowd = Crowd(floor, USERS, site.stand.base_url, hold_s=_HOLD_S, give_up_ms=give_up_ms)
    crowd.start()
    try:
        fire = asyncio.create_task(attack.run(schedule, -floor.now_ms, options.seconds * 1_000), name="attack")
        served, shown = bars("bills served", len(floor.plan.arrivals)), 0
        while crowd.running and floor.now_ms < give_up_ms:
            if fire.done() and (floor.finished or fire.exception() is not None):
                break
            await asyncio.sleep(_POLL_S)
            served(floor.ended - shown)
            shown = floor.ended
        await fire
    finally:
        floor.stop()
        report = await asyncio.to_thread(crowd.join)
    return report


async def _findings(
    options: Options,
    site: Site,
    attack: Attack,
    schedule: Sequence[Blow],
    floor: Floor,
    crowd: CrowdReport,
    after: Aftermath,
) -> Findings:
    stand, plan = site.stand, floor.plan
    words, debits = after.words.by_key.values(), await live_debits(stand)
    bills = await ledger_bills(stand, plan.run)
    card_of = {each.visit_no: floor.equipment.patients[each.patient].card.pan or "" for each in plan.arrivals}
    return Findings(
        options=options,
        plan=plan,
        schedule=schedule,
        struck=attack.struck,
        severed=sum(link.severed for link in site.links.values()),
        died=await asyncio.to_thread(died, site),
        events=attack.record.events,
        visits=floor.visits,
        crowd=crowd,
        after=after,
        recovery_s=None if after.rested_at is None else after.rested_at - attack.whole_at,
        open_legs=await stand.open_legs(),
        bills=bills,
        doubts=await doubts(stand),
        verdict=judge(words, debits, bills),
        account_sums=account_sums(words, await accounts(stand, floor.equipment.patients), card_of),
        comparison=await compare_with_ledger(stand.base.pool, plan.run, floor.visits),
        proof=await stand.verify(),
        database=str(await stand.base.pool.fetchval("show server_version")).split(maxsplit=1)[0],
    )
