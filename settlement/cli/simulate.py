"""`settlement simulate`: seeded storms, and crashes at every await, over the real engine and a real database."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from settlement.cli.failures import told

if TYPE_CHECKING:
    from settlement.simulation.jobs import Jobs, StoryResult
    from settlement.simulation.run import SeedResult

_SETTLEMENTS, _FAULTS = 50, 20
_TRACE_SHOWN = 40
_FAILURES_SHOWN = 3
_SEEDS = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?")


class SeedRange(click.ParamType[range]):
    """``7`` or ``1..200``."""

    name = "A..B"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """From text to a range that includes both ends."""
        match = _SEEDS.fullmatch(str(value))
        if match is None or int(match[2] or match[1]) < int(match[1]):
            self.fail(f"{value!r} is not a seed such as 7 or a range such as 1..200", param, ctx)
        return range(int(match[1]), int(match[2] or match[1]) + 1)


@click.command()
@click.option("--seeds", type=SeedRange(), default="1..20", show_default=True, help="Which seeds, both ends included.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Processes side by side; default: one for each processor.")
@click.option(
    "--settlements", type=click.IntRange(1, 10_000), default=_SETTLEMENTS, show_default=True, help="At least, per seed."
)
@click.option(
    "--faults", type=click.IntRange(0, 10_000), default=_FAULTS, show_default=True, help="At least, per seed."
)
@click.option("--trace", is_flag=True, help="Print every event of each seed.")
@click.option(
    "--crash-points", is_flag=True, help="Instead: tell each story once per await of the service, and crash it there."
)
@click.option("--story", "stories", multiple=True, metavar="TEXT", help="Only stories whose name has this; repeatable.")
def simulate(
    seeds: range,
    jobs: int | None,
    settlements: int,
    faults: int,
    trace: bool,
    crash_points: bool,
    stories: tuple[str, ...],
) -> None:
    """Run the real engine, SQL and bank links in virtual time while everything goes wrong, and check all promises.

    Each seed is a storm of its own and replays exactly: the same seed gives the same digest. Needs no configuration and
    touches no data: a database server is started for the run and thrown away. Exit status 0: all promises kept; 1: some
    were broken, each named with the way to replay it.
    """
    from settlement.simulation.jobs import open_jobs

    begun = time.monotonic()
    with told(), open_jobs(jobs or os.cpu_count() or 1) as pool:
        failed = _crash_points(pool, stories) if crash_points else _storms(pool, seeds, settlements, faults, trace)
    click.echo(f"took {time.monotonic() - begun:.0f} s")
    if failed:
        raise SystemExit(1)


def _storms(pool: Jobs, seeds: range, settlements: int, faults: int, trace: bool) -> int:
    totals: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    for result in pool.seeds(seeds, settlements=settlements, fault_count=faults, keep_events=trace):
        for event in result.events:
            click.echo(event.line())
        counts = result.counts
        click.echo(
            f"seed {result.seed:<6} {'ok' if result.ok else 'BROKEN'}  {counts['settlements']} settlements  "
            f"{counts['faults']} faults  {counts.get('crashes', 0)} crashes  "
            f"{result.cpu_s:.1f} s CPU  sha256 {result.digest}"
        )
        if not result.ok:
            _show(
                result, f"settlement simulate --seeds {result.seed}..{result.seed}{_given(settlements, faults)} --trace"
            )
        totals.update({"seeds": 1, "broken": 0 if result.ok else 1, "cpu": round(result.cpu_s)})
        totals.update({name: counts[name] for name in ("settlements", "faults")})
        reached.update(result.reached)
    click.echo(
        f"{totals['seeds']} seeds, {totals['settlements']} settlements, {totals['faults']} faults: "
        f"{totals['broken']} seeds broken"
    )
    _coverage(reached)
    return totals["broken"]


def _given(settlements: int, faults: int) -> str:
    """The options that a replay needs besides the seed, where they are not the usual ones."""
    texts = [
        f" --settlements {settlements}" if settlements != _SETTLEMENTS else "",
        f" --faults {faults}" if faults != _FAULTS else "",
    ]
    return "".join(texts)


def _show(result: SeedResult, replay: str) -> None:
    shown = list(zip(result.violations, result.told, strict=True))
    for violation, events in shown[:_FAILURES_SHOWN]:
        click.echo(f"  VIOLATION {violation.invariant}: {violation.finding}")
        for line in events[:_TRACE_SHOWN]:
            click.echo(f"    {line}")
    if len(shown) > _FAILURES_SHOWN:
        click.echo(f"  and {len(shown) - _FAILURES_SHOWN} more violations")
    click.echo(f"  replay: {replay}")


def _coverage(reached: Counter[str]) -> None:
    from settlement.engine.moves import LEGAL_MOVES

    legal = [
        f"{leg}: {before} > {after}"
        for leg, moves in LEGAL_MOVES.items()
        for before, targets in moves.items()
        for after in sorted(targets)
    ]
    missing = [move for move in legal if not reached[move]]
    click.echo(f"legal moves of a leg reached: {len(legal) - len(missing)} of {len(legal)}")
    for move in missing:
        click.echo(f"  never: {move}")


def _crash_points(pool: Jobs, wanted: Iterable[str]) -> int:
    from settlement.simulation.stories import STORIES

    chosen = [story for story in STORIES if not wanted or any(text in story.name for text in wanted)]
    if not chosen:
        raise click.ClickException("no story has such a name; there are: " + ", ".join(story.name for story in STORIES))
    points = failed = 0
    for result in pool.crash_points(chosen):
        _show_story(result)
        points += result.points
        failed += len(result.failures)
    click.echo(f"{len(chosen)} stories, {points} crash points: {failed} broken")
    return failed


def _show_story(result: StoryResult) -> None:
    verdict = f"{len(result.failures)} BROKEN" if result.failures else "ok"
    click.echo(f"{result.points:>6} points  {verdict:<10} {result.cpu_s:6.1f} s CPU  {result.story}")
    for point, failure in result.failures[:_FAILURES_SHOWN]:
        click.echo(f"  crash at point {point}:" if point else "  without a crash:")
        _show(failure, f'settlement simulate --crash-points --story "{result.story}"')
