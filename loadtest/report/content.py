"""The tables of a report as rows of text: the same for the terminal and for the page."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.books import PARTS
from loadtest.figures import WITHIN_MS, Figures


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: title, what the columns are called, its rows, and a line that says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def grids(summary: Figures) -> list[Grid]:
    """All tables of a run, the most important first."""
    return [
        _settling(summary),
        _outcomes(summary),
        _books(summary),
        _operations(summary),
        _generator(summary),
        _cpu(summary),
    ]


def headline(summary: Figures) -> str:
    """The run in one line."""
    run, whole = summary["run"], summary["settling"]["all"]
    drain = "not drained" if summary["drain_s"] is None else f"drained {summary['drain_s']} s after the last arrival"
    return (
        f"{run['shape']}, at most {run['peak_arrivals_per_s']:g} arrivals/s for {run['duration_s']:g} s, seed "
        f"{run['seed']}: {summary['generator']['served']} bills, {whole['settled']} settled, {drain}"
    )


def _settling(summary: Figures) -> Grid:
    rows = [
        (
            name,
            str(each["bills"]),
            *(f"{100 * each['within'][str(limit)]:.1f} %" for limit in WITHIN_MS),
            *(_ms(each[key]) for key in ("p50_ms", "p99_ms", "max_ms")),
        )
        for name, each in summary["settling"].items()
    ]
    within = (f"≤ {limit / 1_000:g} s" for limit in WITHIN_MS)
    return Grid(
        "settled within … of the patient's tap",
        ("bills", "number", *within, "p50 ms", "p99 ms", "max ms"),
        tuple(rows),
        "Share of all bills but those that the bank declined; the tap is the planned moment of the arrival.",
    )


def _outcomes(summary: Figures) -> Grid:
    first, final = summary["outcomes"]["first"], summary["outcomes"]["final"]
    rows = [(name, str(first.get(name, 0)), str(final.get(name, 0))) for name in sorted({*first, *final})]
    undone = summary["reversals"]
    return Grid(
        "outcomes",
        ("outcome", "first answer", "in the end"),
        tuple(rows),
        f"Reversals asked for: {undone['asked']}, done: {undone['done']}; "
        f"keys sent once more: {undone['keys_repeated']}.",
    )


def _books(summary: Figures) -> Grid:
    books = summary["books"]
    rows = [
        (f"{outcome}, {side}", str(sums.get("bills", 0)), *(_yuan(sums.get(f"{part}_fen", 0)) for part in PARTS))
        for outcome in sorted({*books["tills"], *books["ledger"]})
        for side, sums in (("tills", books["tills"].get(outcome, {})), ("ledger", books["ledger"].get(outcome, {})))
    ]
    return Grid(
        "the tills against the ledger (yuan)",
        ("bills", "number", *(part.replace("_", " ") for part in PARTS)),
        tuple(rows),
        f"Differences found: {books['findings']}.",
    )


def _operations(summary: Figures) -> Grid:
    rows = [
        (
            each["name"],
            str(each["calls"]),
            str(each["failures"]),
            *(_ms(each[key]) for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms")),
        )
        for each in summary["operations"]
    ]
    columns = ("operation", "calls", "refused or failed", "p50 ms", "p90 ms", "p99 ms", "max ms")
    return Grid("calls of the terminal kit", columns, tuple(rows), "Measured around the call, journal and all.")


def _generator(summary: Figures) -> Grid:
    made = summary["generator"]
    late, proofs = made["late"], made["proofs"]
    signed = ", ".join(f"{count} {how}" for how, count in sorted(proofs.items()))
    rows = (
        ("arrivals served", f"{made['served']} of {made['planned']}"),
        ("began late, p50 / p99 / max ms", " / ".join(_ms(late[key]) for key in ("p50_ms", "p99_ms", "max_ms"))),
        ("began more than 50 ms late", f"{100 * late['share_over_50_ms']:.2f} %"),
        ("waited for the card to leave another till", str(made["card_in_use_elsewhere"])),
        ("card proofs signed", signed or "none"),
        ("CPU, cores in the mean", f"{made['cpu_cores']:.2f}"),
        ("journals", summary["run"]["journals"]),
    )
    troubles = "; ".join(made["troubles"])
    note = f"THE GENERATOR FELL BEHIND: {troubles}." if troubles else "The generator kept to its plan."
    return Grid("the generator", ("figure", "value"), rows, note)


def _cpu(summary: Figures) -> Grid:
    rows = [
        (
            name,
            f"{each['seconds']:.2f}",
            f"{each['cores']:.2f}",
            "–" if each["ms_per_settled_bill"] is None else f"{each['ms_per_settled_bill']:.2f}",
        )
        for name, each in summary["cpu"].items()
    ]
    columns = ("processes", "CPU s", "cores in the mean", "CPU ms per settled bill")
    return Grid("CPU while patients came", columns, tuple(rows), "Users, system and ended children, from /proc.")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _yuan(amount_fen: int) -> str:
    return f"{amount_fen // 100:,}.{amount_fen % 100:02d}"
