"""How tests are spread over the worker processes of one run: a file stays together, and so do tests that share a thing.

Each worker has a database server, a service and a bank host of its own, so files may run in any order, side by side.
"""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/pcsc/", "tests/packaging/", "tests/typing/")
"""Folders that stay together: a machine may have room for one PC/SC daemon only; wheels are built, and the type checker
looks at the kit, once for all tests of the folder."""


_ROOT = Path(__file__).parents[2]
assert all((_ROOT / folder).is_dir() for folder in TOGETHER), "a folder that stays together has another name now"


class Spreading(LoadScopeScheduling):
    """Gives a worker one file after the other, in the order of collection (with ``--no-loadscope-reorder``)."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """What a test is kept together with: its folder if that is one of ``TOGETHER``, else its file."""
    path = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if path.startswith(folder)), path)
