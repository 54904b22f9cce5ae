"""Between tills and service: requests and answers that are lost, late or doubled, and a record of what was said."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from settlement.engine.service import SettlementEngine
from settlement.errors import ServiceError, early_or_unknown
from settlement.simulation.database import is_injected
from settlement.simulation.loop import OUTSIDE
from settlement.simulation.population import Card
from settlement.simulation.sources import seeded
from settlement.terminals import TerminalIdentity
from terminal_sdk.wire import FeeLine, Quote, Refund, RefundLine, Reversal, Settlement

if TYPE_CHECKING:
    from settlement.simulation.parties import Worker
    from settlement.simulation.world import World

Do = Callable[[SettlementEngine], Awaitable[msgspec.Struct]]

PATIENCE_S = 14.0
"""How long a till waits for an answer."""
_TRAVEL_S = (0.001, 0.02)
_LATE_S = (3.0, 45.0)
_SAYS_NOTHING = frozenset({"OUTCOME_UNKNOWN", "INTERNAL", "IDEMPOTENCY_KEY_REUSED"})
_MOVES_MONEY = frozenset({"settle", "reverse", "reverse_by_key", "refund"})
_STRAYS = frozenset({"late", "doubled"})
_FATES = ("whole", "lost", "answer_lost", "late", "doubled")
_ROUGH = (80, 5, 7, 4, 4)
_CALM = (1, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Refused:
    """An error answer: its code, and the new quote that came with it."""

    code: str
    quote: Quote | None = None

    @property
    def nothing_begun(self) -> bool:
        """Whether it says that the request has changed nothing and never will."""
        return self.code not in _SAYS_NOTHING


Answer = msgspec.Struct | Refused | None
"""None: no answer came."""


@dataclass(frozen=True, slots=True)
class Said:
    """One exchange: when it was asked and answered (virtual s), what about (a key), and the answer."""

    asked_at: float
    at: float
    operation: str
    key: str
    answer: Answer


@dataclass(slots=True, eq=False)
class Order:
    """One bill of one patient at one till, with everything that was said about it."""

    number: int
    till: TerminalIdentity
    card: Card
    key: str
    visit_no: str
    lines: list[FeeLine]
    remainder: str
    on_bank_decline: str
    deadline_s: float
    plan: str
    said: list[Said] = field(default_factory=list)
    agreements: int = 0
    strays: bool = False
    """Whether a copy of the bill may have arrived after the answer that the till went by."""
    sent: bool = False
    first_sent_at: float = 0.0
    reversal_asked_at: float | None = None
    last_word: Answer = None
    clear_at: float | None = None
    refunds: dict[str, Refund] = field(default_factory=dict)
    refunds_asked: dict[str, RefundLine] = field(default_factory=dict)
    """What each key of a refund was to give back."""
    reversals: dict[str, Reversal] = field(default_factory=dict)

    @property
    def total_fen(self) -> int:
        """The whole bill."""
        return sum(line.amount_fen for line in self.lines)

    def views(self) -> list[tuple[Said, Settlement]]:
        """Every answer that said how the settlement under this order's key stands."""
        return [
            (said, said.answer) for said in self.said if said.key == self.key and isinstance(said.answer, Settlement)
        ]

    def undos(self) -> list[Refund | Reversal]:
        """Its refunds and reversals, as last told."""
        return [*self.refunds.values(), *self.reversals.values()]

    def names(self) -> list[str]:
        """By what it is known in the trace."""
        views = [view for _, view in self.views()]
        ids = {view.settlement_id for view in views}
        references = {view.bank.reference for view in views if view.bank is not None}
        return [self.key, *sorted(ids), *sorted(references)]


class Desk:
    """Carries requests to one of the workers that are there and answers back, and writes down what was said."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = seeded(world.seed, "till network")
        self.calm = False
        self.fates: dict[str, int] = {}

    async def ask(self, order: Order, operation: str, key: str, do: Do) -> Answer:
        """Ask once, of some worker; wait so long as a till waits."""
        world, asked_at = self._world, self._world.loop.time()
        fate = self._random.choices(_FATES, _CALM if self.calm else _ROUGH)[0]
        world.trace.note(order.till.terminal_id, "ask", f"{operation} {key} ({fate})")
        order.strays |= operation == "settle" and fate in _STRAYS
        if fate != "whole":
            self.fates[fate] = self.fates.get(fate, 0) + 1
        heard: asyncio.Future[Answer] = world.loop.create_future()
        delays = [self._random.uniform(*_TRAVEL_S)]
        if fate == "late":
            delays = [self._random.uniform(*_LATE_S)]
        elif fate == "doubled":
            delays.append(self._random.uniform(*_LATE_S) if self._random.random() < 0.5 else delays[0])  # noqa: PLR2004 - half of them
        for delay in delays if fate != "lost" else []:
            worker = self._random.choice(world.workers)
            arrive = functools.partial(self._arrive, worker, operation, do, heard, fate != "answer_lost")
            world.loop.call_later(delay, arrive, context=OUTSIDE)
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await heard
        except TimeoutError:
            answer = None
        world.trace.note(order.till.terminal_id, "told", f"{operation} {key}: {_shown(answer)}")
        order.said.append(Said(asked_at, world.loop.time(), operation, key, answer))
        return answer

    def _arrive(self, worker: Worker, operation: str, do: Do, heard: asyncio.Future[Answer], answered: bool) -> None:
        if worker.up and worker.process.alive:
            worker.process.spawn(self._serve(worker, operation, do, heard, answered), "request")
        elif answered:
            # The till's connection is refused: it knows at once that nobody heard.
            _tell(heard, Refused("UNREACHABLE"))

    async def _serve(
        self, worker: Worker, operation: str, do: Do, heard: asyncio.Future[Answer], answered: bool
    ) -> None:
        """What the API does: every outcome becomes an answer, an unforeseen exception an INTERNAL."""
        answer: Answer
        assert worker.engine is not None  # noqa: S101 - it is up
        try:
            told = await do(worker.engine)
            answer = msgspec.json.decode(msgspec.json.encode(told), type=type(told))
        except ServiceError as error:
            told_as = early_or_unknown(error) if operation in _MOVES_MONEY else error
            answer = Refused(told_as.code, told_as.quote)
        except Exception as error:
            if not is_injected(error):
                self._world.loop.troubles.append(f"a request failed: {error!r}")
            answer = Refused("INTERNAL")
        if answered:
            delay = self._random.uniform(*_TRAVEL_S)
            self._world.loop.call_later(delay, _tell, heard, answer, context=OUTSIDE)


def _tell(heard: asyncio.Future[Answer], answer: Answer) -> None:
    if not heard.done():
        heard.set_result(answer)


def _shown(answer: Answer) -> str:
    if answer is None:
        return "no answer"
    if isinstance(answer, Refused):
        return answer.code
    state = getattr(answer, "state", type(answer).__name__)
    ids = [
        str(getattr(answer, name))
        for name in ("settlement_id", "reversal_id", "refund_id")
        if getattr(answer, name, None)
    ]
    return " ".join([str(state), *ids])
