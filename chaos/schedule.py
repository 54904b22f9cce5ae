"""What is done to whom and when: drawn from a seed before the run, so that a run can be had again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill_worker", "kill_service", "kill_database", "kill_bank", "pause_worker", "link", "bank_fault"]

KILLS: tuple[Kind, ...] = ("kill_worker", "kill_service", "kill_database", "kill_bank")
TILL_LINK, DATABASE_LINK, ALL_BANKS = "tills", "database", "banks"
"""Names of links; ``ALL_BANKS`` is the line on which all the banks hang, so that all their links fail at once."""
LINK_FAULTS = ("cut", "stall", "half", "refuse", "deaf", "late")
BANK_FAULTS = (
    "delay_ms",
    "drop_before_commit",
    "drop_after_commit",
    "duplicate",
    "garbage",
    "close",
    "wrong_mac",
    "wrong_amount",
    "wrong_identity",
    "answer_code",
    "half_frame",
    "trickle",
)
_LINKS = 7
_DECK: Mapping[Kind, int] = {
    "kill_worker": 3,
    "kill_service": 1,
    "kill_database": 2,
    "kill_bank": 2,
    "pause_worker": 2,
    "link": _LINKS,
    "bank_fault": 4,
}
"""How often each kind comes in one round. Within a round the order is drawn, but every round begins with the kills, so
that a short run has them too."""
_FIRST_MS, _LAST_MS = 1_000, 500
_BACK_MS: Mapping[Kind, tuple[int, int]] = {
    "kill_worker": (0, 0),
    "kill_service": (50, 800),
    "kill_database": (200, 1_500),
    "kill_bank": (300, 3_000),
    "link": (300, 4_000),
    "bank_fault": (1_000, 6_000),
}
_PAST_LEASE_MS = (500, 2_500)
_STARTING_MS = 4_000
"""Roughly how long something that was killed needs to be back at work; until then it is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One thing done. ``at_ms``: after the run began · ``for_ms``: how long the target stays away, or the fault lasts.

    ``target``: number of a service or a host, ``service.worker``, the code of a bank, or the name of a link · ``how``:
    the fault of a link or of a bank, empty otherwise.
    """

    at_ms: int
    kind: Kind
    target: str
    for_ms: int
    how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What can be hit: how many services, workers of each, and bank hosts; the codes of the banks.

    ``lease_ms``: the claims' lease.
    """

    services: int
    workers: int
    hosts: int
    banks: tuple[str, ...]
    lease_ms: int

    def of(self, kind: Kind) -> Sequence[str]:
        """The names that a kind of blow can hit."""
        match kind:
            case "kill_worker" | "pause_worker":
                places = itertools.product(range(self.services), range(self.workers))
                return [f"{service}.{worker}" for service, worker in places]
            case "kill_service":
                return [str(number) for number in range(self.services)]
            case "kill_database":
                return ["0"]
            case "kill_bank":
                return [str(number) for number in range(self.hosts)]
            case "link":
                # Each of the three counts for half as much as all the single banks together.
                share = max(1, len(self.banks) // 2)
                return [*[TILL_LINK, DATABASE_LINK, ALL_BANKS] * share, *self.banks]
            case "bank_fault":
                return self.banks


def make_schedule(*, seed: int, duration_ms: int, every_ms: int, targets: Targets) -> tuple[Blow, ...]:
    """The blows of a seed, in their order; the same again for the same arguments.

    They come by chance, in the mean every ``every_ms``, and none begins in the last half second. Nothing is hit again
    before it is back.
    """
    chance = random.Random(f"chaos {seed}")  # noqa: S311 - what is killed by chance is no secret
    hand, busy_until = _Hand(chance), dict[tuple[str, str], int]()
    blows = []
    at_ms = float(_FIRST_MS)
    while (at_ms := at_ms + chance.expovariate(1 / every_ms)) < duration_ms - _LAST_MS:
        for kind in hand.kinds():
            free = [name for name in targets.of(kind) if busy_until.get(_place(kind, name), 0) <= at_ms]
            if not free:
                continue
            hand.play(kind)
            blow = _draw(chance, round(at_ms), kind, chance.choice(free), targets.lease_ms)
            away_ms = blow.for_ms + (_STARTING_MS if kind in KILLS else 0)
            busy_until[_place(kind, blow.target)] = blow.at_ms + away_ms
            blows.append(blow)
            break
    return tuple(blows)


class _Hand:
    """The kinds that are still to come in this round, in their order."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._left: list[Kind] = []

    def kinds(self) -> Iterator[Kind]:
        """The next one first; a new round is dealt when the old one is over."""
        if not self._left:
            first = self._chance.sample(KILLS, len(KILLS))
            rest = [kind for kind, times in _DECK.items() for _ in range(times - (kind in KILLS))]
            self._left = [*first, *self._chance.sample(rest, len(rest))]
        return iter(list(dict.fromkeys(self._left)))

    def play(self, kind: Kind) -> None:
        self._left.remove(kind)


def _place(kind: Kind, name: str) -> tuple[str, str]:
    """What is busy: a worker is one target whether it is killed or paused; the banks' links are one line."""
    if kind in {"kill_worker", "pause_worker"}:
        return "worker", name
    if kind == "link" and name not in {TILL_LINK, DATABASE_LINK}:
        return kind, ALL_BANKS
    return kind, name


def _draw(chance: random.Random, at_ms: int, kind: Kind, target: str, lease_ms: int) -> Blow:
    if kind == "pause_worker":
        return Blow(at_ms=at_ms, kind=kind, target=target, for_ms=lease_ms + chance.randint(*_PAST_LEASE_MS))
    how = ""
    if kind == "link":
        how = chance.choice([*LINK_FAULTS, "late"])  # twice as often: it is the meanest of them
    elif kind == "bank_fault":
        how = chance.choice(BANK_FAULTS)
    return Blow(at_ms=at_ms, kind=kind, target=target, for_ms=chance.randint(*_BACK_MS[kind]), how=how)
