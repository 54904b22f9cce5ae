"""From one run of the load to the numbers that the report shows."""

from __future__ import annotations

from bench.cells import Reading
from bench.load.jobs import SETTLED
from bench.loader import Measured
from bench.spread import percentile

PARTY_TITLES = {
    "service": "CPU of the service",
    "database": "CPU of the database server",
    "banks": "CPU of the bank hosts",
    "echo": "CPU of the echo server",
    "clients": "CPU of the clients",
}


def loop_readings(measured: Measured, what: str, client_threads: int = 1) -> list[Reading]:
    """Throughput, latencies and CPU of a run. ``what``: one operation, in the singular (``settlement``).

    ``client_threads``: how many cores the clients could use.
    """
    tally = measured.tally
    return [
        Reading(quantity="rate", value=tally.done / tally.elapsed_s, unit=f"{what}s/s", title="throughput"),
        *latency_readings(tally.latencies_ms, since="begin"),
        *cpu_readings(measured, what),
        client_share(measured, client_threads),
        Reading(quantity="done", value=tally.done, unit=f"{what}s"),
        Reading(quantity="failed", value=failed(measured), unit=f"{what}s"),
        Reading(quantity="elapsed", value=tally.elapsed_s, unit="s"),
        Reading(quantity="ran_out", value=float(tally.ran_out), unit="1 = ended early, nothing left to do"),
    ]


def latency_readings(latencies_ms: list[float], since: str) -> list[Reading]:
    """Median and 99th percentile. ``since``: the moment that they count from."""
    return [
        Reading(
            quantity=f"p{percent}",
            value=percentile(latencies_ms, percent / 100),
            unit="ms",
            title=f"latency p{percent}" if since == "begin" else f"latency p{percent} from the {since}",
        )
        for percent in (50, 99)
    ]


def cpu_readings(measured: Measured, what: str) -> list[Reading]:
    """CPU by party for one operation, and how much of the machine was busy with other things meanwhile."""
    readings = [
        Reading(
            quantity=f"cpu_{party}",
            value=seconds * 1_000 / measured.tally.done,
            unit=f"CPU-ms/{what}",
            title=PARTY_TITLES[party],
        )
        for party, seconds in measured.cpu_s.items()
    ]
    if measured.others_share is not None:
        readings.append(Reading(quantity="others", value=measured.others_share * 100, unit="% of all cores"))
    return readings


def client_share(measured: Measured, threads: int = 1) -> Reading:
    """How much of the cores that it can use the load process used; near 100 % it is the limit itself."""
    share = 100 * measured.tally.cpu_s / measured.tally.elapsed_s / threads
    unit = "% of one core" if threads == 1 else f"% of {threads} cores"
    return Reading(quantity="client_share", value=share, unit=unit, title="CPU share of the clients")


def per_core(readings: list[Reading], what: str) -> list[Reading]:
    """Derived, not measured: what one core would do if it did nothing else, by the CPU of one operation."""
    cpu_ms = {each.quantity: each.value for each in readings if each.quantity.startswith("cpu_")}
    served_ms = sum(value for party, value in cpu_ms.items() if party in {"cpu_service", "cpu_database", "cpu_banks"})
    derived = [("per_service_core", "one core of service alone", cpu_ms.get("cpu_service", 0.0))]
    if "cpu_database" in cpu_ms:  # otherwise the sum would leave out the largest part
        derived.append(("per_core", "one core for service, database, banks", served_ms))
    return [
        Reading(quantity=name, value=1_000 / each_ms, unit=f"{what}s/s per core", title=title, derived=True)
        for name, title, each_ms in derived
        if each_ms > 0
    ]


def failed(measured: Measured) -> int:
    """How many operations did not end as they should."""
    return sum(count for outcome, count in measured.tally.outcomes.items() if outcome != SETTLED)
