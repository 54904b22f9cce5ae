"""What a chaos run is told as: tables on the terminal, a JSON file, a page with the timeline, and Locust's page."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from loadtest.report.content import Grid
from loadtest.report.page import STYLE, table_html, timeline_chart
from loadtest.report.tables import print_grid

Figures = dict[str, Any]


def write_files(folder: Path, summary: Figures, locust_page: str) -> list[Path]:
    """Write the files of a report, over those of the last one; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "chaos.json": json.dumps(summary, ensure_ascii=False, indent=2) + "\n",
        "chaos.html": page(summary),
        "locust.html": locust_page,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def print_report(summary: Figures, console: Console) -> None:
    """Print everything; the last lines say whether the run passed, and if not, why."""
    console.print(headline(summary), highlight=False)
    for grid in grids(summary):
        print_grid(grid, console)
    for line in summary["verify"]["lines"]:
        console.print(Text(line))
    console.print(Text(f"lost {summary['lost']}, doubled {summary['doubled']}"))
    for line in summary["failures"]:
        console.print(Text(f"FAILED {line}", style="bold red"), soft_wrap=True)
    console.print(Text("passed" if summary["passed"] else "NOT PASSED", style="bold"))


def headline(summary: Figures) -> str:
    """The run in one line."""
    run, blows = summary["run"], summary["blows"]
    struck = sum(blows["struck"].values())
    recovered = summary["recovery_s"]
    end = "nothing came to rest" if recovered is None else f"all at rest {recovered} s after the last one was mended"
    return (
        f"seed {run['seed']}, {run['arrivals_per_s']:g} arrivals/s for {run['seconds']:g} s, "
        f"{run['services']} services with {run['workers']} workers, a blow every {run['blow_every_s']:g} s: "
        f"{summary['settlements']} settlements, {struck} blows; {end}"
    )


def grids(summary: Figures) -> list[Grid]:
    """The tables of a run, the most important first."""
    doubt = summary["in_doubt"]
    bills = [
        ("settlements in the ledger", summary["settlements"]),
        *((f"… {state}", count) for state, count in summary["states"].items()),
        *((f"tills' last word: {word}", count) for word, count in summary["till_words"].items()),
        ("in doubt: messages to banks", doubt["messages"]),
        ("… of them resolved", doubt["resolved"]),
        ("… the longest, ms", doubt["longest_ms"]),
        ("bills whose till first got no answer", doubt["at_tills"]),
        ("attempts open when the tills started again", doubt["open_at_tills_after_the_faults"]),
        ("lost", summary["lost"]),
        ("doubled", summary["doubled"]),
    ]
    blows = [
        *summary["blows"]["struck"].items(),
        ("connections broken by links", summary["connections_severed"]),
    ]
    return [
        _grid("what became of the bills", ("", "number"), bills, "Lost and doubled must be 0."),
        _grid("what was done to the service", ("", "times"), blows, "When each came stands in the timeline."),
        Grid(
            "calls of the terminal kit",
            ("call", "number", "failed", "p50 ms", "p99 ms", "max ms"),
            tuple(
                (each["name"], *(str(each[key]) for key in ("calls", "failures", "p50_ms", "p99_ms", "max_ms")))
                for each in summary["operations"]
            ),
            "A call that failed while something was broken is not a failure of the run.",
        ),
    ]


def page(summary: Figures) -> str:
    """One HTML page without anything from elsewhere."""
    good = summary["passed"]
    failed = "".join(f"<li class='bad'>{escape(line)}</li>" for line in summary["failures"])
    events = Grid(
        "timeline",
        ("at s", "what", "to", "happened"),
        tuple(
            (f"{each['at_ms'] / 1_000:.1f}", each["kind"], each["target"], each["what"]) for each in summary["events"]
        ),
        "Seconds since the first patient could come. process: what the supervisor saw.",
    )
    proof = escape("\n".join(summary["verify"]["lines"]))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Chaos {escape(summary['run']['id'])}</title><style>{STYLE}</style></head><body>"
        f"<h1>Chaos</h1><p>{escape(headline(summary))}</p>"
        f"<p class='verdict {'good' if good else 'bad'}'>{'passed' if good else 'not passed'}: "
        f"lost {summary['lost']}, doubled {summary['doubled']}</p><ul>{failed}</ul>"
        f"{timeline_chart(summary['timeline'])}{''.join(map(table_html, grids(summary)))}"
        f"<h2>settlement verify</h2><pre>{proof}</pre>{table_html(events)}"
        "<p class='note'>The figures behind this page are in chaos.json; Locust's own page is locust.html.</p>"
        "</body></html>\n"
    )


def _grid(title: str, columns: tuple[str, ...], rows: list[tuple[str, Any]], note: str) -> Grid:
    return Grid(title, columns, tuple((name, str(value)) for name, value in rows), note)
