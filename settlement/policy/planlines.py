"""Where in a plan file something stands: TOML readers forget the lines, and whoever edits a plan needs them."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[(?P<many>\[)?\s*(?P<name>[A-Za-z0-9_.\-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*(?P<key>[A-Za-z0-9_\-]+)\s*=")

Place = tuple[str | int, ...]
"""A path in the data: ``("rule", 2, "band", 0, "ratio")``."""


class PlanLines:
    """Lines of headers and keys. Plan files give each key a line of its own; an inline table is on its key's line."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {(): 1}
        counts: dict[Place, int] = {}
        table: Place = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                table = self._table(header["name"], bool(header["many"]), counts)
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, key["key"]), number)

    def _table(self, name: str, many: bool, counts: dict[Place, int]) -> Place:
        place: Place = ()
        *parents, last = name.split(".")
        for parent in parents:
            place = (*place, parent)
            if place in counts:
                place = (*place, counts[place])
        place = (*place, last)
        if many:
            counts[place] = counts.get(place, -1) + 1
            place = (*place, counts[place])
            # A new element of the outer array begins its inner arrays anew.
            for inner in [each for each in counts if each[: len(place)] == place]:
                del counts[inner]
        return place

    def of(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it."""
        while place not in self._lines:
            place = place[:-1]
        return self._lines[place]
