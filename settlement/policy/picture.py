"""A comparison of two versions of a plan as one HTML page without anything from elsewhere: a table and two charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from settlement.policy.compare import PAYERS, Comparison
from settlement.policy.explain import yuan_of

_WIDTH, _ROW, _LABEL = 900, 26, 210
_BOUNDS_FEN = (100_000, 10_000, 1_000, 0)
_STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --soft: #667; --line: #d5dae0; --more: #b3261e; --less: #1b7f3b;
        --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #a0a8b0; --line: #3a424a; --more: #ff8a80; --less: #7fd89a; --paper: #14191e; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
h2 { margin: 2rem 0 .4rem; font-size: 1.1rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 13px; } svg line { stroke: var(--line); }
.more { fill: var(--more); } .less { fill: var(--less); }
"""


def signed_yuan(fen: int) -> str:
    """Yuan with a sign; nothing has none."""
    return ("+" if fen > 0 else "-" if fen < 0 else "") + yuan_of(abs(fen))


def page(found: Comparison, versions: tuple[str, str], names: Mapping[str, str]) -> str:
    """The page. ``versions``: what the old and the new one are called · ``names``: of the payers."""
    old, new = versions
    rows = "".join(
        f"<tr><td>{escape(names[payer])}</td><td>{yuan_of(found.old[payer])}</td><td>{yuan_of(found.new[payer])}</td>"
        f"<td>{signed_yuan(found.new[payer] - found.old[payer])}</td></tr>"
        for payer in PAYERS
    )
    by_payer = [(names[payer], found.new[payer] - found.old[payer], signed_yuan) for payer in PAYERS]
    people = [(label, count, str) for label, count in classes(found)]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(old)} and {escape(new)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(old)} and {escape(new)}</h1>"
        f"<p>{found.bills} bills of {found.persons} persons; {found.bills_changed} bills change, "
        f"of {len(found.people)} persons: {found.pay_more} pay more of their own, {found.pay_less} less.</p>"
        f"<table><thead><tr><th>who pays</th><th>{escape(old)}</th><th>{escape(new)}</th><th>change (yuan)</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>"
        f"{_bars('Change by payer, yuan', by_payer)}{_bars('Persons by the change of what they pay', people)}"
        "</body></html>\n"
    )


def classes(found: Comparison) -> list[tuple[str, int]]:
    """Persons by how much more or less they pay: a label, and how many; those that pay less are counted below 0."""
    less: list[tuple[str, int]] = []
    more: list[tuple[str, int]] = []
    upper: int | None = None
    for lower in _BOUNDS_FEN:
        words = f"more than {yuan_of(lower)}" + ("" if upper is None else f" to {yuan_of(upper)}")
        for sign, rows in ((-1, less), (1, more)):
            number = sum(
                1 for each in found.people.values() if lower < sign * each and (upper is None or sign * each <= upper)
            )
            rows.append((f"{words} {'less' if sign < 0 else 'more'}", sign * number))
        upper = lower
    same = sum(each == 0 for each in found.people.values())
    return [*less, ("the same in all, other accounts", same), *reversed(more)]


def _bars(title: str, rows: Sequence[tuple[str, int, object]]) -> str:
    most = max([1, *(abs(value) for _, value, _ in rows)])
    middle, reach = (_WIDTH + _LABEL) / 2, (_WIDTH - _LABEL) / 2 - 90
    drawn = [f"<line x1='{middle}' x2='{middle}' y1='0' y2='{len(rows) * _ROW}'/>"]
    for place, (label, value, shown) in enumerate(rows):
        width, top = reach * abs(value) / most, place * _ROW
        left = middle if value > 0 else middle - width
        text_x, anchor = (middle + width + 6, "start") if value >= 0 else (middle - width - 6, "end")
        text = signed_yuan(value) if shown is signed_yuan else str(abs(value))
        drawn.append(
            f"<text x='0' y='{top + 18}'>{escape(label)}</text>"
            f"<rect class='{'more' if value > 0 else 'less'}' x='{left:.1f}' y='{top + 5}' width='{width:.1f}' "
            f"height='16'/>"
            f"<text x='{text_x:.1f}' y='{top + 18}' text-anchor='{anchor}'>{escape(text)}</text>"
        )
    height = len(rows) * _ROW
    return (
        f"<h2>{escape(title)}</h2><svg viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='{escape(title)}'>"
        f"{''.join(drawn)}</svg>"
    )
