"""Running the users under Locust, in a thread of their own, in the shape of the plan."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.html import get_html_report
from locust.stats import sort_stats, stats_history

from loadtest.floor import Floor
from loadtest.till_user import TillUser

LEAD_S = 4.0
"""How long before the first arrival the users are called, so that all are there in time."""
_AHEAD_S = 10.0
_SPAWNED_A_SECOND = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdReport:
    """What Locust says: its own page, its statistics by operation, and exceptions of users (which must be none)."""

    html: str
    operations: list[dict[str, Any]]
    exceptions: list[str]
    users_max: int


class PlannedShape(LoadTestShape):
    """As many users as the plan's rate needs, if each is busy for ``hold_s``; they are never fewer than before.

    More users than arrivals at once cost nothing; too few make the generator late, which the report says.
    """

    def __init__(self, floor: Floor, hold_s: float, give_up_ms: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Locust's base class has no annotations here
        self._floor = floor
        self._hold_s = hold_s
        self._give_up_ms = give_up_ms
        self.users_max = 0

    def tick(self) -> tuple[int, float] | None:
        """Called by Locust every second."""
        if self._floor.finished or self._floor.now_ms > self._give_up_ms:
            return None
        soon_s = max(0.0, self._floor.now_ms / 1_000) + _AHEAD_S
        wanted = math.ceil(self._floor.plan.profile.peak_until(soon_s) * self._hold_s)
        self.users_max = max(self.users_max, wanted, 4 * len(self._floor.plan.kinds))
        return self.users_max, _SPAWNED_A_SECOND


class Crowd:
    """One Locust run in a thread of its own. ``start``, then ``join``; ``report`` afterwards.

    ``hold_s``: how long a user is reckoned to be busy with one patient. ``give_up_ms``: when to stop waiting for bills
    under way, after the beginning of the run.
    """

    def __init__(
        self, floor: Floor, users: Sequence[type[TillUser]], host: str, *, hold_s: float, give_up_ms: float
    ) -> None:
        self._floor = floor
        self._users = list(users)
        self._host = host
        self._hold_s = hold_s
        self._give_up_ms = give_up_ms
        self._thread = threading.Thread(target=self._run, name="locust", daemon=True)
        self._report: CrowdReport | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Begin; the users wait for the beginning of the run."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether Locust still runs."""
        return self._thread.is_alive()

    def join(self) -> CrowdReport:
        """Wait for the end. Raises what broke Locust itself."""
        self._thread.join()
        if self._report is None:
            raise RuntimeError("Locust did not come to its end") from self._failure
        return self._report

    def _run(self) -> None:
        try:
            self._report = self._run_locust()
        except BaseException as failure:  # handed to whoever joins
            self._failure = failure
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    def _run_locust(self) -> CrowdReport:
        self._floor.open()
        for user in self._users:
            user.floor = self._floor
        shape = PlannedShape(self._floor, self._hold_s, self._give_up_ms)
        environment = Environment(user_classes=[*self._users], shape_class=shape, host=self._host)
        runner = environment.create_local_runner()
        history = gevent.spawn(stats_history, runner)
        try:
            runner.start_shape()
            shaping = runner.shape_greenlet
            assert shaping is not None  # noqa: S101 - just started
            shaping.join()
            return CrowdReport(
                html=_page(environment),
                operations=[_operation(entry) for entry in sort_stats(runner.stats.entries)],
                exceptions=[f"{each['msg']}\n{each['traceback']}" for each in runner.exceptions.values()],
                users_max=shape.users_max,
            )
        finally:
            history.kill()
            runner.quit()
            self._floor.close()


def _page(environment: Environment) -> str:
    page: str = get_html_report(environment, show_download_link=False)  # type: ignore[no-untyped-call]
    return page


def _operation(entry: Any) -> dict[str, Any]:
    """One operation of the kit: how often, how often refused or failed, and its latencies in ms."""
    quantiles = {f"p{round(100 * part)}_ms": entry.get_response_time_percentile(part) for part in (0.5, 0.9, 0.99)}
    return {
        "name": entry.name,
        "calls": entry.num_requests,
        "failures": entry.num_failures,
        **{name: round(value or 0, 1) for name, value in quantiles.items()},
        "max_ms": round(entry.max_response_time or 0, 1),
    }
