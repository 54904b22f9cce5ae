"""The report as one HTML page without anything from elsewhere: tables, and two charts drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from loadtest.figures import WITHIN_MS, Figures
from loadtest.report.content import Grid, grids, headline

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900, 220, 48, 24
STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --soft: #667; --line: #d5dae0; --one: #1f77b4; --two: #2ca02c;
        --paper: #fff; --bad: #b3261e; --good: #1b7f3b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #a0a8b0; --line: #3a424a; --one: #6baed6; --two: #74c476; --paper: #14191e;
          --bad: #ff8a80; --good: #7fd89a; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
h2 { margin: 2rem 0 .4rem; font-size: 1.1rem; } p.note { color: var(--soft); margin: .3rem 0 0; }
.scroll { overflow-x: auto; } svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.verdict { font-weight: 700; } .bad { color: var(--bad); } .good { color: var(--good); } pre { white-space: pre-wrap; }
"""


def page(summary: Figures) -> str:
    """The whole page."""
    good = summary["passed"]
    verdict = "passed" if good else "not passed"
    failures = "".join(f"<li class='bad'>{escape(line)}</li>" for line in summary["failures"])
    settling, *others = (table_html(grid) for grid in grids(summary))
    proof = escape("\n".join(summary["verify"]["lines"]))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Load test {escape(summary['run']['id'])}</title><style>{STYLE}</style></head><body>"
        f"<h1>Load test</h1><p>{escape(headline(summary))}</p>"
        f"<p class='verdict {'good' if good else 'bad'}'>{verdict}</p><ul>{failures}</ul>"
        f"{settling}{_within_chart(summary)}{timeline_chart(summary['timeline'])}{''.join(others)}"
        f"<h2>settlement verify</h2><pre>{proof}</pre>"
        "<p class='note'>The figures behind this page are in summary.json; Locust's own page is locust.html.</p>"
        "</body></html>\n"
    )


def table_html(grid: Grid) -> str:
    """One table of a report."""
    head = "".join(f"<th>{escape(column)}</th>" for column in grid.columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
    return (
        f"<h2>{escape(grid.title)}</h2><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div><p class='note'>{escape(grid.note)}</p>"
    )


def _within_chart(summary: Figures) -> str:
    """Bars: what share of all bills was settled within each limit."""
    within = summary["settling"]["all"]["within"]
    step = (_WIDTH - _LEFT) / len(WITHIN_MS)
    bars = []
    for number, limit in enumerate(WITHIN_MS):
        share = within[str(limit)]
        left, tall = _LEFT + number * step, share * (_HEIGHT - 2 * _BOTTOM)
        top = _HEIGHT - _BOTTOM - tall
        bars.append(
            f"<rect x='{left + step / 4:.1f}' y='{top:.1f}' width='{step / 2:.1f}' height='{tall:.1f}' "
            f"fill='var(--one)'/><text x='{left + step / 2:.1f}' y='{top - 6:.1f}' text-anchor='middle'>"
            f"{100 * share:.1f} %</text><text x='{left + step / 2:.1f}' y='{_HEIGHT - 6}' text-anchor='middle'>"
            f"≤ {limit / 1_000:g} s</text>"
        )
    return _figure("settled within, all bills", "".join(bars))


def timeline_chart(seconds: Sequence[Figures]) -> str:
    """Lines: arrivals and bills settled, in each second (``figures.timeline``)."""
    top = max([1, *(each["arrived"] for each in seconds), *(each["settled"] for each in seconds)])
    lines = "".join(
        f"<polyline fill='none' stroke='var(--{colour})' stroke-width='2' points='{_points(values, top)}'/>"
        for colour, values in (
            ("one", [each["arrived"] for each in seconds]),
            ("two", [each["settled"] for each in seconds]),
        )
    )
    words = (
        f"<text x='0' y='{_BOTTOM}'>{top}/s</text><text x='0' y='{_HEIGHT - _BOTTOM}'>0</text>"
        f"<text x='{_LEFT}' y='{_HEIGHT - 6}'>0 s</text>"
        f"<text x='{_WIDTH}' y='{_HEIGHT - 6}' text-anchor='end'>{len(seconds)} s</text>"
        f"<text x='{_WIDTH - 220}' y='14' style='fill:var(--one)'>arrived</text>"
        f"<text x='{_WIDTH - 120}' y='14' style='fill:var(--two)'>settled</text>"
    )
    return _figure("arrivals and settled bills by second", lines + words)


def _points(values: Sequence[int], top: int) -> str:
    across, high = (_WIDTH - _LEFT) / max(1, len(values) - 1), _HEIGHT - 2 * _BOTTOM
    return " ".join(
        f"{_LEFT + number * across:.1f},{_HEIGHT - _BOTTOM - value / top * high:.1f}"
        for number, value in enumerate(values)
    )


def _figure(title: str, content: str) -> str:
    return (
        f"<h2>{escape(title)}</h2><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{escape(title)}'>"
        f"<line x1='{_LEFT}' x2='{_WIDTH}' y1='{_HEIGHT - _BOTTOM}' y2='{_HEIGHT - _BOTTOM}' stroke='var(--line)'/>"
        f"{content}</svg>"
    )
