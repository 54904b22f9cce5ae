"""The service dies at each of its awaits in turn, and all promises are kept every time."""

from __future__ import annotations

import pytest

from settlement.simulation import Simulator
from settlement.simulation.crashes import count_points, crash_at
from settlement.simulation.jobs import open_jobs
from settlement.simulation.stories import STORIES

EVERY = 3
"""The short run takes each third point; all points of all stories are for the long one."""


def test_crash_points_of_a_bill_of_which_the_bank_pays_a_part(simulator: Simulator) -> None:
    story = next(story for story in STORIES if story.name == "account and bank approved")
    whole, points = count_points(simulator, story)
    assert whole.violations == []
    assert points > 50
    for point, result in crash_at(simulator, story, range(1, points + 1, EVERY)):
        assert result.violations == [], (point, result.told)
        assert result.counts["crashes"] == 1


@pytest.mark.deep
def test_every_crash_point_of_every_story() -> None:
    with open_jobs(2) as jobs:
        results = list(jobs.crash_points())
    assert [result.story for result in results] == [story.name for story in STORIES]
    assert {result.story: result.failures for result in results if result.failures} == {}
