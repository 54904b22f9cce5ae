"""What can be chosen for a run, and the two sets of choices that have a name: the default one and the quick one."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds``: of each measurement · ``clients``: numbers of clients of the closed loops · ``rates``: of planned
    arrivals, settlements per second; empty: shares of what the closed loop reached · ``only``: names of parts, empty:
    all · ``seed``: of the arrivals · ``pgbench_scale``: None: the largest number of clients.
    """

    seconds: float = 2.0
    repeats: int = 3
    clients: tuple[int, ...] = (1, 8, 32)
    rates: tuple[float, ...] = ()
    only: tuple[str, ...] = ()
    seed: int = 1
    pgbench_scale: int | None = None

    @property
    def most_clients(self) -> int:
        """The largest number of clients."""
        return max(self.clients)


DEFAULT = Options()
QUICK = Options(seconds=1.0, repeats=2, clients=(8,))
