"""A run: brings the parts up, measures everything in turn and again, proves the books, and reports what failed too."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import asyncpg

from bench.cells import Cell, Part, Reading
from bench.machine import machine, server_settings, software
from bench.options import Options
from bench.parts import PARTS
from bench.ratios import ratios
from bench.remarks import remarks
from bench.report import FORMAT, Books, Problem, Report, figures, without_paths
from bench.server import Ground, Server, look_at
from bench.world import Say, World, open_world

T = TypeVar("T")


@dataclass(slots=True)
class Course:
    """What came out of a run so far."""

    cells: list[tuple[Part, Cell]] = field(default_factory=list)
    results: dict[str, list[list[Reading] | None]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    books: Books | None = None

    def failed(self, part: Part, measurement: str | None, error: Exception) -> Problem:
        """Note a problem."""
        reason = str(error).strip().splitlines()
        message = without_paths(f"{type(error).__name__}: {reason[0] if reason else '(no message)'}")
        problem = Problem(part=part.name, measurement=measurement, message=message)
        self.problems.append(problem)
        return problem


async def run(options: Options, ground: Ground, say: Say, parts: Sequence[Part] = PARTS) -> Report:
    """Measure. Raises only what makes a run impossible (no server); a part that fails is a problem in the report."""
    started_at, began = dt.datetime.now(dt.UTC), time.monotonic()
    server = await look_at(ground.url)
    course = Course()
    async with open_world(options, server, ground.folder, say) as world:
        async with _opened(parts, world, course):
            for repeat, (part, cell) in interleaved(course.cells, options.repeats):
                await _measure(part, cell, repeat, world, course)
        await _prove(world, course)
    cells = [cell for _, cell in course.cells]
    measured = figures(cells, course.results)
    here = machine(ground.data)
    return Report(
        format=FORMAT,
        started_at=started_at,
        took_s=round(time.monotonic() - began, 1),
        machine=here,
        software=software(),
        database=await _database(server),
        options=options,
        order=[cell.key for cell in cells],
        figures=measured,
        ratios=ratios(measured),
        remarks=remarks(measured, here),
        problems=course.problems,
        books=course.books,
    )


def interleaved(things: Sequence[T], repeats: int) -> Iterator[tuple[int, T]]:
    """All things once, then all again: A B C, A B C. What drifts while a run goes on then hits all alike."""
    for repeat in range(repeats):
        for thing in things:
            yield repeat, thing


def in_order(cells: Iterable[tuple[Part, Cell]]) -> list[tuple[Part, Cell]]:
    """Measurements with as many clients next to each other, those without clients at the end."""
    return sorted(cells, key=lambda each: (each[1].clients is None, each[1].clients or 0))


@contextlib.asynccontextmanager
async def _opened(parts: Sequence[Part], world: World, course: Course) -> AsyncIterator[None]:
    """The chosen parts up, their measurements in ``course``; taken down in reverse, each whatever the others do."""
    open_parts = []
    chosen = [part for part in parts if not world.options.only or part.name in world.options.only]
    try:
        for part in chosen:
            world.say(f"{part.name}: bringing up")
            manager = part.open(world)
            try:
                cells = await manager.__aenter__()
            except Exception as error:
                world.say(f"{part.name}: FAILED: {course.failed(part, None, error).message}")
                continue
            open_parts.append((part, manager))
            course.cells += [(part, cell) for cell in cells]
        course.cells = in_order(course.cells)
        yield
    finally:
        for part, manager in reversed(open_parts):
            try:
                await manager.__aexit__(None, None, None)
            except Exception as error:
                world.say(f"{part.name}: FAILED: {course.failed(part, None, error).message}")


async def _measure(part: Part, cell: Cell, repeat: int, world: World, course: Course) -> None:
    """One measurement; one that has failed is not tried again."""
    results = course.results.setdefault(cell.key, [])
    if cell.key in course.broken:
        results.append(None)
        return
    shown = f"{repeat + 1}/{world.options.repeats} {cell.key:<24}"
    try:
        readings = await cell.measure()
    except Exception as error:
        course.broken.add(cell.key)
        results.append(None)
        world.say(f"{shown} FAILED: {course.failed(part, cell.key, error).message}")
        return
    results.append(readings)
    world.say(f"{shown} {readings[0].value:10,.0f} {readings[0].unit}")


async def _prove(world: World, course: Course) -> None:
    """The proof of the service's books, and whether they hold what the tills were told."""
    city = world.city
    if city is None:
        return
    try:
        await city.stand.until_final()
        proof = await city.stand.verify()
    except Exception as error:
        message = without_paths(f"the books could not be verified: {type(error).__name__}: {error}")
        course.problems.append(Problem(part="books", measurement=None, message=message))
        return
    course.books = Books(
        settled_by_tills=city.settled,
        settled_in_ledger=proof.ledger.counts["settled"],
        violations=proof.violations,
        lines=list(proof.lines()),
    )
    if not course.books.agree:
        course.problems.append(
            Problem(part="books", measurement=None, message="the books do not agree; no figure here means anything")
        )


async def _database(server: Server) -> dict[str, str]:
    connection = await asyncpg.connect(server.url)
    try:
        return await server_settings(connection)
    finally:
        await connection.close()
