"""The fault panel: which messages of which bank go wrong, how, and how often."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping

from settlement.banks.iso.spec import Mti
from settlement.stubs.bankhost.wire import Fault, FaultSpec, Match

BEFORE, AFTER = "before_commit", "after_commit"
FAULTS_MOST = 1_000
ON_ACCEPTING = frozenset({"accept_silent", "accept_close"})
"""Actions that meet a new connection, not a message."""


class FaultError(Exception):
    """This fault cannot be played; the text says why."""


class FaultPanel:
    """All faults of one process, in the order in which they were set; the first that meets a message is played."""

    def __init__(self, seed: int | None = None) -> None:
        self._numbers = itertools.count(1)
        self._faults: dict[int, Fault] = {}
        # Chance for faults is not a secret; a seed makes a run repeatable.
        self._chance = random.Random(seed)  # noqa: S311

    def add(self, spec: FaultSpec) -> Fault:
        """Set a fault. Raises ``FaultError``."""
        if len(self._faults) >= FAULTS_MOST:
            raise FaultError(f"there are {FAULTS_MOST} faults already; clear them first")
        if spec.action == "answer_code" and spec.code is None:
            raise FaultError("answer_code needs code")
        if spec.action == "delay_ms" and not spec.delay_ms:
            raise FaultError("delay_ms needs delay_ms above 0")
        if spec.action in ON_ACCEPTING and spec.match != Match():
            raise FaultError(f"{spec.action} meets connections, not messages: leave match out")
        fault = Fault(id=next(self._numbers), spec=spec, played=0, remaining=spec.count)
        self._faults[fault.id] = fault
        return fault

    def entries(self) -> list[Fault]:
        """All faults, spent ones too."""
        return list(self._faults.values())

    def clear(self, bank: str | None = None) -> int:
        """Take away the faults of a bank (None: all); how many they were."""
        gone = [number for number, fault in self._faults.items() if bank is None or fault.spec.bank == bank]
        for number in gone:
            del self._faults[number]
        return len(gone)

    def take(self, bank: str, fields: Mapping[str, str]) -> FaultSpec | None:
        """The fault to play on this message, counted as played."""
        return self._first(bank, lambda spec: spec.action not in ON_ACCEPTING and _meets(spec.match, fields))

    def take_accepting(self, bank: str) -> FaultSpec | None:
        """The fault to play on a new connection, counted as played."""
        return self._first(bank, lambda spec: spec.action in ON_ACCEPTING)

    def _first(self, bank: str, meets: Callable[[FaultSpec], bool]) -> FaultSpec | None:
        for number, fault in self._faults.items():
            spec = fault.spec
            if fault.remaining == 0 or spec.bank not in {None, bank} or not meets(spec):
                continue
            if spec.probability < 1 and self._chance.random() >= spec.probability:
                continue
            left = None if fault.remaining is None else fault.remaining - 1
            self._faults[number] = Fault(id=number, spec=spec, played=fault.played + 1, remaining=left)
            return spec
        return None


def _meets(match: Match, fields: Mapping[str, str]) -> bool:
    if match.mti is None and fields["t"] == Mti.NETWORK:
        return False
    wanted = {
        "t": match.mti,
        "3": match.processing_code,
        "70": match.network_code,
        "2": match.pan,
        "37": match.reference,
    }
    return all(value is None or fields.get(number) == value for number, value in wanted.items())


def is_before(spec: FaultSpec | None, action: str, default: str) -> bool:
    """Whether this fault is such an action on the near side of the commit."""
    return spec is not None and spec.action == action and (spec.when or default) == BEFORE


def is_after(spec: FaultSpec | None, action: str, default: str) -> bool:
    """Whether this fault is such an action on the far side of the commit."""
    return spec is not None and spec.action == action and (spec.when or default) == AFTER
