"""Named SQL statements kept in ``.sql`` files beside the code that uses them.

A file is a row of ``-- name: load_card`` lines, each followed by comment lines that say what the statement is for, and
by the statement.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from types import MappingProxyType

_NAME = re.compile(r"--\s*name:\s*(?P<name>\S+)\s*")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")


class QueryFileError(Exception):
    """A file of named statements is malformed; the message names file and line."""


def load_queries(package: str, file_name: str) -> Mapping[str, str]:
    """The statements of a file that lies in a package, by name. Raises ``QueryFileError``."""
    text = (importlib.resources.files(package) / file_name).read_text(encoding="utf-8")
    return parse_queries(text, f"{package}/{file_name}")


def parse_queries(text: str, source: str) -> Mapping[str, str]:
    """The statements in a text, by name; comments before a statement are left out, those inside it stay.

    ``source`` is named in errors.
    """
    bodies: dict[str, list[str]] = {}
    begun_at: dict[str, int] = {}
    body: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        match = _NAME.fullmatch(line.rstrip())
        if match is not None:
            name = match["name"]
            if not _IDENTIFIER.fullmatch(name):
                raise QueryFileError(
                    f"{source}, line {number}: {name!r} is not a name of lower-case letters and digits"
                )
            if name in bodies:
                raise QueryFileError(f"{source}, line {number}: {name} was used before, in line {begun_at[name]}")
            body = bodies[name] = []
            begun_at[name] = number
        elif body is not None and (body or not _is_comment(line)):
            body.append(line.rstrip())
        elif body is None and not _is_comment(line):
            raise QueryFileError(f"{source}, line {number}: a statement before the first '-- name:' line")
    for name, lines in bodies.items():
        if not any(not _is_comment(line) for line in lines):
            raise QueryFileError(f"{source}, line {begun_at[name]}: {name} has no statement")
    return MappingProxyType({name: _statement(lines) for name, lines in bodies.items()})


def _is_comment(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("--")


def _statement(lines: list[str]) -> str:
    """Without the comments that follow it: they introduce the next statement."""
    end = len(lines)
    while _is_comment(lines[end - 1]):
        end -= 1
    return "\n".join(lines[:end])
