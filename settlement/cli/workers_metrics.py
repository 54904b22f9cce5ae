"""Metrics of several workers as one: each writes its values into files of a shared folder, any of them shows the sum.

A worker is known by its place (0, 1, …), not by its process: the one that takes a dead one's place goes on with its
counters, so that none falls back, and the number of files is bounded.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def make_folder(folder: Path) -> None:
    """An empty folder for a new set of workers, readable by its owner only."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def forget_worker(folder: Path, place: int) -> None:
    """A worker has died: take away what only a living one has (its gauges); its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]  # published without types


def share(folder: Path, place: int) -> None:
    """Have this process's metrics written to the folder. Before any module that makes metrics is imported."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]  # published without types


def shared_registry(folder: Path) -> CollectorRegistry:
    """What /metrics shows: all workers' values put together, those of dead ones' counters included."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # published without types
    return registry
