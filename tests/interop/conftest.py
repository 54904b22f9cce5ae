"""Fixtures: the process that runs the npm packages, and the openssl command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.node import Node, running_node
from tests.interop.openssl import require_openssl


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """sm-crypto and iso_8583, in one process for the whole session."""
    with running_node() as node:
        yield node


@pytest.fixture(scope="session")
def openssl_command() -> None:
    """The ``openssl`` command, with SM2."""
    require_openssl()
