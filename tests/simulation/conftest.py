"""One simulator for all tests here: starting its server costs more than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from settlement.simulation import Simulator, open_simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """A simulator with a server of its own."""
    with open_simulator() as opened:
        yield opened
