"""The flaw that the page about the simulation plants is found, as it is printed."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from settlement import simulation
from settlement.simulation import Simulator
from settlement.simulation.stories import STORIES

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "simulation.md"


@pytest.mark.deep
def test_the_planted_flaw_is_found_as_printed(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    monkeypatch.setattr(simulation, "open_simulator", lambda: contextlib.nullcontext(simulator))
    exec(block[1], {})  # noqa: S102 - our own page


def test_the_page_counts_the_stories_rightly() -> None:
    assert f"{len(STORIES)} stories" in PAGE.read_text(encoding="utf-8")
