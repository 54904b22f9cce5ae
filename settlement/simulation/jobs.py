"""Many seeds, or many crash points, side by side: each job a process with a database of its own on one server."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from settlement.simulation.cluster import Cluster, make_template, throw_away_cluster
from settlement.simulation.crashes import count_points, crash_at
from settlement.simulation.database import in_real_time
from settlement.simulation.plants import Plant
from settlement.simulation.run import FAULTS, SETTLEMENTS, SeedResult, Simulator, simulator_on
from settlement.simulation.stories import STORIES, Story

_POINTS_A_STEP = 20


@dataclass(slots=True)
class StoryResult:
    """``points``: at how many awaits the service was crashed · ``failures``: (point, what came of it; 0: no crash).

    ``cpu_s``: user and system time of the jobs, for all points.
    """

    story: str
    points: int
    failures: list[tuple[int, SeedResult]] = field(default_factory=list)
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hunt:
    """The search for a planted flaw: which seed found it (None: none of them), after how many, and what was broken."""

    flaw: str
    seed: int | None
    tried: int
    broken: list[str] = field(default_factory=list)


class Jobs:
    """A server and processes that run simulations on it."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def seeds(
        self,
        seeds: Iterable[int],
        *,
        settlements: int = SETTLEMENTS,
        fault_count: int = FAULTS,
        keep_events: bool = False,
    ) -> Iterator[SeedResult]:
        """Run seeds; each result as it comes."""
        running = [
            self._pool.submit(_seed, seed, settlements=settlements, fault_count=fault_count, keep_events=keep_events)
            for seed in seeds
        ]
        for done in as_completed(running):
            yield done.result()

    def hunts(self, flaws: Sequence[Plant], seeds: range) -> Iterator[Hunt]:
        """Look for each flaw with one seed after another until one finds it; in the order of the flaws."""
        for running in [self._pool.submit(_hunt, flaw, seeds) for flaw in flaws]:
            yield running.result()

    def crash_points(self, stories: Sequence[Story] = STORIES) -> Iterator[StoryResult]:
        """Tell each story once whole, then with a crash at every point; each story's result when it is complete."""
        whole = [(story, self._pool.submit(_whole, story.name)) for story in stories]
        pending: list[tuple[StoryResult, list[Future[list[tuple[int, SeedResult]]]]]] = []
        for story, counted in whole:
            first, awaits = counted.result()
            points = range(1, awaits + 1, story.every)
            result = StoryResult(story.name, len(points), [] if first.ok else [(0, first)], first.cpu_s)
            tellings = [
                self._pool.submit(_crashes, story.name, points[at : at + _POINTS_A_STEP])
                for at in range(0, len(points), _POINTS_A_STEP)
            ]
            pending.append((result, tellings))
        for result, tellings in pending:
            for telling in tellings:
                told = telling.result()
                result.failures += [(point, each) for point, each in told if not each.ok]
                result.cpu_s += sum(each.cpu_s for _, each in told)
            yield result


@contextlib.contextmanager
def open_jobs(number: int) -> Iterator[Jobs]:
    """So many processes on a server of their own, which is thrown away at the end. Blocks: not inside an event loop."""
    with throw_away_cluster() as cluster:
        in_real_time(make_template(cluster))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(number, mp_context=context, initializer=_begin, initargs=(cluster,)) as pool:
            try:
                yield Jobs(pool)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


_simulators: list[Simulator] = []


def _begin(cluster: Cluster) -> None:
    """In a new process: a database and a simulator, closed when the process ends."""
    ending = contextlib.ExitStack()
    _simulators.append(
        ending.enter_context(simulator_on(cluster, f"simulation_{multiprocessing.current_process().pid}"))
    )
    atexit.register(ending.close)


def _seed(seed: int, *, settlements: int, fault_count: int, keep_events: bool) -> SeedResult:
    return _simulators[0].run_seed(seed, settlements=settlements, fault_count=fault_count, keep_events=keep_events)


def _hunt(flaw: Plant, seeds: range) -> Hunt:
    for tried, seed in enumerate(seeds, 1):
        result = _simulators[0].run_seed(seed, flaw)
        if not result.ok:
            return Hunt(flaw.name, seed, tried, sorted({each.invariant for each in result.violations}))
    return Hunt(flaw.name, None, len(seeds))


def _whole(story: str) -> tuple[SeedResult, int]:
    return count_points(_simulators[0], _named(story))


def _crashes(story: str, points: range) -> list[tuple[int, SeedResult]]:
    return crash_at(_simulators[0], _named(story), points)


def _named(name: str) -> Story:
    return next(story for story in STORIES if story.name == name)
