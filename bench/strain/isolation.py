"""One bank takes every message and answers none: what the patients of the other banks notice of it."""

from __future__ import annotations

import statistics
from collections import Counter

import msgspec

from bench.load.jobs import SETTLED, Planned
from bench.spread import percentile
from bench.strain.stage import WARMING, Stage, Volley, steady
from settlement.stubs.bankhost.wire import FaultSpec

SILENT = "ICBC"
RATIO_MAX = 1.5
LOAD_SHARE = 0.5
OTHERS_SETTLED_PERCENT_MIN = 99.0


class IsolationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``repeats``: pairs of a healthy and a silent run, each first in turn · ``seconds``: of each run and of the search
    for the capacity.
    """

    repeats: int = 5
    seconds: float = 7.0


class IsolationReport(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in ms, of settled bills at the other banks; a value a run. ``silent_outcomes``: what the patients of
    the silent bank were told.
    """

    bench: str
    capacity_per_s: float
    offered_per_s: float
    healthy_p99_ms: list[float]
    silent_p99_ms: list[float]
    healthy_p50_ms: list[float]
    silent_p50_ms: list[float]
    others_settled_percent: list[float]
    generator_late_p99_ms: float
    silent_outcomes: dict[str, int]
    books: list[str]
    ratio: float
    target: float
    met: bool


async def isolation(stage: Stage, options: IsolationOptions) -> IsolationReport:
    """Measure in turns, healthy and silent, at half of what the service can do."""
    capacity = await stage.capacity(min(4.0, options.seconds))
    rate = max(2.0, capacity * LOAD_SHARE)
    stage.world.say(f"capacity {capacity:.0f}/s; {rate:.0f}/s are offered")
    offsets_s = steady(rate, options.seconds)
    await stage.stock((len(offsets_s) + WARMING) * options.repeats * 2)
    healthy: list[Volley] = []
    silent: list[Volley] = []
    host = stage.city.stand.banks[SILENT]
    for number in range(options.repeats):
        for mute in (False, True) if number % 2 == 0 else (True, False):
            await stage.warm_up()
            if mute:
                await host.add_fault(FaultSpec(action="drop_before_commit", bank=SILENT, count=None))
            (silent if mute else healthy).append(await stage.shoot(Planned(offsets_s=offsets_s), len(offsets_s)))
            await host.clear_faults(SILENT)
            await stage.city.stand.until_final()
        stage.world.say(
            f"{number + 1}/{options.repeats} p99 at the other banks: healthy {_p(healthy[-1], 0.99):.0f} ms, "
            f"one silent {_p(silent[-1], 0.99):.0f} ms"
        )
    ratio = statistics.median(_p(each, 0.99) for each in silent) / statistics.median(_p(each, 0.99) for each in healthy)
    return IsolationReport(
        bench="isolation",
        capacity_per_s=capacity,
        offered_per_s=rate,
        healthy_p99_ms=[_p(each, 0.99) for each in healthy],
        silent_p99_ms=[_p(each, 0.99) for each in silent],
        healthy_p50_ms=[_p(each, 0.5) for each in healthy],
        silent_p50_ms=[_p(each, 0.5) for each in silent],
        others_settled_percent=[_settled_percent(each) for each in silent],
        generator_late_p99_ms=max(each.late_p99_ms for each in [*healthy, *silent]),
        silent_outcomes=dict(sum((_of_the_silent(each) for each in silent), Counter())),
        books=await stage.prove(),
        ratio=ratio,
        target=RATIO_MAX,
        met=ratio <= RATIO_MAX and min(_settled_percent(each) for each in silent) >= OTHERS_SETTLED_PERCENT_MIN,
    )


def lines(report: IsolationReport) -> list[str]:
    """The report for people."""
    return [
        f"capacity           {report.capacity_per_s:.0f} settlements/s (account + bank, closed loop)",
        f"offered            {report.offered_per_s:.0f}/s, a tenth of them to the bank that falls silent",
        f"p99 other banks    healthy {_range(report.healthy_p99_ms)} ms; one bank silent "
        f"{_range(report.silent_p99_ms)} ms",
        f"p50 other banks    healthy {_range(report.healthy_p50_ms)} ms; one bank silent "
        f"{_range(report.silent_p50_ms)} ms",
        f"settled meanwhile  {min(report.others_settled_percent):.1f} % of the other banks' bills, at worst",
        f"at the silent bank {', '.join(f'{name} {count}' for name, count in sorted(report.silent_outcomes.items()))}",
        f"generator          late by {report.generator_late_p99_ms:.1f} ms (p99, worst run)",
        *(f"books              {line}" for line in report.books),
        f"ratio of p99       {report.ratio:.2f} (medians of {len(report.silent_p99_ms)} runs); "
        f"target at most {report.target:g}: {'met' if report.met else 'MISSED'}",
    ]


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} – {max(values):.0f})"


def _p(volley: Volley, share: float) -> float:
    """A percentile of the latencies at the other banks."""
    ours = zip(volley.patrons, volley.record.latencies_ms, volley.record.outcomes, strict=True)
    return percentile([ms for patron, ms, outcome in ours if patron.bank != SILENT and outcome == SETTLED], share)


def _settled_percent(volley: Volley) -> float:
    ours = zip(volley.patrons, volley.record.outcomes, strict=True)
    others = [outcome for patron, outcome in ours if patron.bank != SILENT]
    return 100.0 * others.count(SETTLED) / len(others)


def _of_the_silent(volley: Volley) -> Counter[str]:
    ours = zip(volley.patrons, volley.record.outcomes, strict=True)
    return Counter(outcome for patron, outcome in ours if patron.bank == SILENT)
