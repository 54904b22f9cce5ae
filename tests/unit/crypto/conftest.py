"""Both libraries take their turn: what holds for one must hold for the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from terminal_sdk.crypto.backends import ENVIRONMENT_VARIABLE, backend


@pytest.fixture(params=["openssl", "gmssl-pyx"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Runs the test once with each library doing everything."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, request.param)
    backend.cache_clear()
    yield request.param
    monkeypatch.undo()
    backend.cache_clear()
