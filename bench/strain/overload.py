"""Twice as many bills as can be served, then half of it again: what is served meanwhile, and how soon all is well."""

from __future__ import annotations

import statistics

import msgspec

from bench.load.jobs import SETTLED, Planned
from bench.spread import percentile
from bench.strain.stage import OPEN, REFUSED, Stage, Volley, steady

GOODPUT_PERCENT_MIN = 80.0
RECOVERED_WITHIN_S = 5
RECOVERED_FACTOR = 1.5
ACCEPTED_P99_MS_MAX = 2_000.0
CALM_SHARE, STORM_SHARE = 0.5, 2.0


class OverloadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds at half the capacity, at twice of it, and at half again; so often over."""

    repeats: int = 3
    calm_s: int = 6
    storm_s: int = 10
    after_s: int = 8
    capacity_s: float = 4.0


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``peak_per_s``: the closed loop's, right before it · ``goodput_per_s``: settled of those offered in the
    storm · ``p99_by_second_ms``: of settled bills by the second in which they were planned, all three phases ·
    ``recovered_after_s``: whole seconds after the fall until p99 was back for good; None: not within the run ·
    ``refusal_cpu_ms``: the service's CPU in the storm less what its settlements cost at the peak, by refusals.
    """

    peak_per_s: float
    offered_per_s: float
    goodput_per_s: float
    goodput_percent: float
    accepted_p50_ms: float
    accepted_p99_ms: float
    refused_p99_ms: float | None
    calm_p99_ms: float
    p99_by_second_ms: list[float | None]
    recovered_after_s: int | None
    storm_outcomes: dict[str, int]
    settlement_cpu_ms: float
    refusal_cpu_ms: float | None
    generator_late_p99_ms: float


class OverloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """All runs, and whether their medians meet the targets."""

    bench: str
    calm_s: int
    storm_s: int
    storms: list[Storm]
    books: list[str]
    goodput_percent: float
    recovered_after_s: float | None
    accepted_p99_ms: float
    met: bool


async def overload(stage: Stage, options: OverloadOptions) -> OverloadReport:
    """Measure the peak, then offer half, twice and half of it; again, with fresh patients."""
    storms = []
    for number in range(options.repeats):
        storm = await _storm(stage, options)
        storms.append(storm)
        stage.world.say(
            f"{number + 1}/{options.repeats} peak {storm.peak_per_s:.0f}/s; at twice of it "
            f"{storm.goodput_percent:.0f} % of the peak, p99 {storm.accepted_p99_ms:.0f} ms, "
            f"back after {_shown(storm.recovered_after_s)}"
        )
    goodput = statistics.median(each.goodput_percent for each in storms)
    backs = [each.recovered_after_s for each in storms]
    back = None if None in backs else float(statistics.median(each for each in backs if each is not None))
    p99 = statistics.median(each.accepted_p99_ms for each in storms)
    return OverloadReport(
        bench="overload",
        calm_s=options.calm_s,
        storm_s=options.storm_s,
        storms=storms,
        books=await stage.prove(),
        goodput_percent=goodput,
        recovered_after_s=back,
        accepted_p99_ms=p99,
        met=goodput > GOODPUT_PERCENT_MIN
        and back is not None
        and back <= RECOVERED_WITHIN_S
        and p99 <= ACCEPTED_P99_MS_MAX,
    )


async def _storm(stage: Stage, options: OverloadOptions) -> Storm:
    before = stage.cpu()
    told = stage.told[SETTLED]
    peak = await stage.capacity(options.capacity_s)
    settlement_cpu_ms = 1_000 * (stage.cpu() - before) / (stage.told[SETTLED] - told)
    calm, storm = float(options.calm_s), float(options.calm_s + options.storm_s)
    offsets_s = [
        *steady(peak * CALM_SHARE, options.calm_s),
        *steady(peak * STORM_SHARE, options.storm_s, calm),
        *steady(peak * CALM_SHARE, options.after_s, storm),
    ]
    volley = await stage.shoot(Planned(offsets_s=offsets_s), len(offsets_s), marks_s=(calm, storm))
    accepted = volley.settled(calm, storm)
    goodput = len(accepted) / options.storm_s
    calm_p99 = percentile(volley.settled(0.0, calm), 0.99)
    by_second = [_p99(volley.settled(second, second + 1)) for second in range(round(storm) + options.after_s)]
    return Storm(
        peak_per_s=peak,
        offered_per_s=peak * STORM_SHARE,
        goodput_per_s=goodput,
        goodput_percent=100 * goodput / peak,
        accepted_p50_ms=percentile(accepted, 0.5),
        accepted_p99_ms=percentile(accepted, 0.99),
        refused_p99_ms=_p99(_refused_ms(volley, calm, storm)),
        calm_p99_ms=calm_p99,
        p99_by_second_ms=by_second,
        recovered_after_s=recovered_after(by_second[round(storm) :], calm_limit(by_second[: options.calm_s])),
        storm_outcomes=dict(volley.outcomes(calm, storm)),
        settlement_cpu_ms=settlement_cpu_ms,
        refusal_cpu_ms=_refusal_cpu_ms(volley, calm, storm, settlement_cpu_ms),
        generator_late_p99_ms=volley.late_p99_ms,
    )


def calm_limit(calm: list[float | None]) -> float:
    """Up to where p99 of a second counts as calm: half as much again as in the worst second before the storm."""
    return RECOVERED_FACTOR * max((each for each in calm if each is not None), default=0.0)


def recovered_after(after: list[float | None], limit_ms: float) -> int | None:
    """Whole seconds until p99 stays within the limit; None if it does not, or if nothing is settled at the end."""
    calm_since = len(after)
    for second in reversed(range(len(after))):
        value = after[second]
        if value is None or value > limit_ms:
            break
        calm_since = second
    return None if calm_since == len(after) else calm_since


def lines(report: OverloadReport) -> list[str]:
    """The report for people."""
    found = []
    for number, each in enumerate(report.storms, start=1):
        cost = "–" if each.refusal_cpu_ms is None else f"{each.refusal_cpu_ms:.2f}"
        seconds = " ".join("–" if p99 is None else f"{p99:.0f}" for p99 in each.p99_by_second_ms)
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(each.storm_outcomes.items()))
        found += [
            f"run {number}  peak {each.peak_per_s:.0f}/s, offered {each.offered_per_s:.0f}/s for {report.storm_s} s: "
            f"settled {each.goodput_per_s:.0f}/s = {each.goodput_percent:.0f} % of the peak",
            f"       accepted p50 {each.accepted_p50_ms:.0f} ms, p99 {each.accepted_p99_ms:.0f} ms; "
            f"refusals p99 {'–' if each.refused_p99_ms is None else f'{each.refused_p99_ms:.0f}'} ms; {outcomes}",
            f"       CPU-ms of the service: a settlement {each.settlement_cpu_ms:.2f}, a refusal {cost} (derived)",
            f"       p99 by second, ms: {seconds}",
            f"       back after {_shown(each.recovered_after_s)}; "
            f"generator late by {each.generator_late_p99_ms:.1f} ms (p99)",
        ]
    return [
        *found,
        *(f"books  {line}" for line in report.books),
        f"goodput at twice the capacity  {report.goodput_percent:.0f} % of the peak; target above "
        f"{GOODPUT_PERCENT_MIN:g} %: {_verdict(report.goodput_percent > GOODPUT_PERCENT_MIN)}",
        f"p99 of the accepted            {report.accepted_p99_ms:.0f} ms; target at most {ACCEPTED_P99_MS_MAX:g} ms: "
        f"{_verdict(report.accepted_p99_ms <= ACCEPTED_P99_MS_MAX)}",
        f"p99 back after the load fell   {_shown(report.recovered_after_s)}; target within {RECOVERED_WITHIN_S} s: "
        f"{_verdict(report.recovered_after_s is not None and report.recovered_after_s <= RECOVERED_WITHIN_S)}",
    ]


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def _shown(seconds: float | None) -> str:
    return "no second of the run" if seconds is None else f"{seconds:g} s"


def _p99(values: list[float]) -> float | None:
    return percentile(values, 0.99) if values else None


def _refused_ms(volley: Volley, first_s: float, last_s: float) -> list[float]:
    shots = zip(volley.planned_s, volley.record.latencies_ms, volley.record.outcomes, strict=True)
    return [ms for planned, ms, outcome in shots if outcome in REFUSED and first_s <= planned < last_s]


def _refusal_cpu_ms(volley: Volley, first_s: float, last_s: float, settlement_cpu_ms: float) -> float | None:
    """Derived: at most what is left of the service's CPU in the storm when its settlements are paid for."""
    start, end = volley.samples[1], volley.samples[2]
    outcomes = volley.outcomes(first_s, last_s)
    refused = sum(outcomes[code] for code in REFUSED)
    if not refused or "service" not in end.parties:
        return None
    served = outcomes[SETTLED] + sum(outcomes[code] for code in OPEN)
    return max(0.0, 1_000 * end.since(start)["service"] - served * settlement_cpu_ms) / refused
