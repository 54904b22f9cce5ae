"""The type checker's cache, which all checks of a session share: the kit itself is looked at once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session's own, empty at first: what an earlier one believed of the kit does not count."""
    return tmp_path_factory.mktemp("mypy")
