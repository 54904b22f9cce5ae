"""The seeded simulation: the real engine, SQL, bank links and bank hosts in virtual time, while everything goes wrong.

    with open_simulator() as simulator:                    # a database server of its own, thrown away at the end
        result = simulator.run_seed(7)                     # SeedResult(ok, violations, digest, counts, ...)
        result = simulator.run_seed(7, plant=Plant(...))   # the same with a flaw put into the engine or its SQL

``run_seed(seed, plant=None)`` does the same with a simulator that this process keeps until it ends.

Where things are:

- ``loop``: virtual time, and processes that can be killed or paused at any await · ``network``: connections that
  break · ``database``: the real database, one statement at a time · ``sources``: clocks, identifiers and chance.
- ``population``, ``parties``, ``world``: who takes part, the service processes and bank hosts, and one run of them.
- ``till``: what tills do, in the table ``PLANS`` · ``faults``: what goes wrong, in the table ``MENU``. To add to
  either, write the method or function and give it a weight in the table.
- ``desk``: what tills were told · ``evidence``: what is on record · ``model``: what must be true of both.
- ``stories``, ``crashes``: stories told once for each await, with a crash there · ``plants``: planted flaws.
- ``trace``: the digest · ``run``, ``jobs``: running seeds, one after another and side by side.
"""

from __future__ import annotations

import atexit
import contextlib

from settlement.simulation.plants import Plant, Rewrite
from settlement.simulation.run import SeedResult, Simulator, open_simulator

__all__ = ["Plant", "Rewrite", "SeedResult", "Simulator", "open_simulator", "run_seed"]

_kept: list[Simulator] = []


def run_seed(seed: int, plant: Plant | None = None) -> SeedResult:
    """Run one seed, with or without a planted flaw. The first call starts a server, which ends with the process.

    Blocks: not inside an event loop.
    """
    if not _kept:
        ending = contextlib.ExitStack()
        _kept.append(ending.enter_context(open_simulator()))
        atexit.register(ending.close)
    return _kept[0].run_seed(seed, plant)
