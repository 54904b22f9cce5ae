"""Planted faults: a flaw put into the real engine or database for one run, to see that the run finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from settlement.simulation.database import RealDatabase

_FUNCTIONS = """select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as text
                from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                where n.nspname = 'public' and p.prokind = 'f'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A flaw. ``patches``: (object, attribute, replacement) each, in Python · ``sql``: for the run's database.

    Functions that ``sql`` replaces are restored by themselves; what else it changes, ``sql_off`` has to undo.
    """

    name: str
    patches: tuple[tuple[Any, str, Any], ...] = ()
    sql: str = ""
    sql_off: str = ""


@contextlib.contextmanager
def planted(plant: Plant | None, database: RealDatabase) -> Iterator[None]:
    """The flaw is there for the block, and gone after it."""
    if plant is None:
        yield
        return
    kept = [(target, name, target.__dict__.get(name, getattr(target, name))) for target, name, _ in plant.patches]
    before = _functions(database) if plant.sql else {}
    try:
        for target, name, replacement in plant.patches:
            setattr(target, name, replacement)
        if plant.sql:
            database.run("execute", plant.sql, ())
        yield
    finally:
        for target, name, original in kept:
            setattr(target, name, original)
        if plant.sql_off:
            database.run("execute", plant.sql_off, ())
        for name, text in _functions(database).items() if plant.sql else ():
            if before.get(name, text) != text:
                database.run("execute", before[name], ())


def _functions(database: RealDatabase) -> dict[str, str]:
    return {row["name"]: row["text"] for row in database.run("fetch", _FUNCTIONS, ())}
