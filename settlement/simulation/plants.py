"""Planted faults: a flaw put into the real engine or database for one run, to see that the run finds it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from settlement.simulation.database import RealDatabase

_FUNCTIONS = """select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as text
                from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                where n.nspname = 'public' and p.prokind = 'f'"""


_TEXT = """select pg_get_functiondef(p.oid)
           from pg_proc p join pg_namespace n on n.oid = p.pronamespace
           where n.nspname = 'public' and p.proname = $1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """A change to one SQL function: ``text`` of its body becomes ``instead``, wherever it stands."""

    function: str
    text: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A flaw. ``patches``: (object or name of a module, attribute, replacement) each, in Python · ``rewrites``: of SQL
    functions · ``sql``: for the run's database.

    Functions that were rewritten, or that ``sql`` replaces, are restored by themselves; what else ``sql`` changes,
    ``sql_off`` has to undo.
    """

    name: str
    patches: tuple[tuple[Any, str, Any], ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    sql: str = ""
    sql_off: str = ""


@contextlib.contextmanager
def planted(plant: Plant | None, database: RealDatabase) -> Iterator[None]:
    """The flaw is there for the block, and gone after it."""
    if plant is None:
        yield
        return
    patches = [(_target(target), name, replacement) for target, name, replacement in plant.patches]
    kept = [(target, name, target.__dict__.get(name, getattr(target, name))) for target, name, _ in patches]
    changes_sql = bool(plant.sql or plant.rewrites)
    before = _functions(database) if changes_sql else {}
    try:
        for target, name, replacement in patches:
            setattr(target, name, replacement)
        for rewrite in plant.rewrites:
            _rewrite(database, rewrite)
        if plant.sql:
            database.run("execute", plant.sql, ())
        yield
    finally:
        for target, name, original in kept:
            setattr(target, name, original)
        if plant.sql_off:
            database.run("execute", plant.sql_off, ())
        for name, text in _functions(database).items() if changes_sql else ():
            if before.get(name, text) != text:
                database.run("execute", before[name], ())


def _target(target: Any) -> Any:
    return importlib.import_module(target) if isinstance(target, str) else target


def _rewrite(database: RealDatabase, rewrite: Rewrite) -> None:
    """Raises ``ValueError`` where the function has no such text: a flaw that is not there proves nothing."""
    now: str = database.run("fetchval", _TEXT, (rewrite.function,))
    if rewrite.text not in now:
        raise ValueError(f"{rewrite.function} has no text {rewrite.text!r}")
    database.run("execute", now.replace(rewrite.text, rewrite.instead), ())


def _functions(database: RealDatabase) -> dict[str, str]:
    return {row["name"]: row["text"] for row in database.run("fetch", _FUNCTIONS, ())}
