"""What the bench tells its load process, and what it hears back: one line of JSON each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar

import msgspec

from loadtest.prepared import CardKey

Payment = Literal["account", "bank"]
"""Who pays the bill: the insurance account alone, or the account first and the bank for the rest."""
T = TypeVar("T")
SETTLED = "settled"
"""The outcome that every operation should have; anything else is a failure, counted by its name."""


class SettlingJob(msgspec.Struct, frozen=True, kw_only=True):
    """Settle one bill a card. ``stores``: credentials files, one a till · ``mark``: begins the visit numbers, so that
    no two jobs share one · ``pin``: the cards' bank PIN.
    """

    base_url: str
    stores: list[str]
    cards: list[CardKey]
    payment: Payment
    mark: str
    pin: str


class HttpJob(SettlingJob, frozen=True, kw_only=True, tag="http"):
    """Over HTTP, with the terminal kit's signing and checking but without its journal."""


class TillJob(SettlingJob, frozen=True, kw_only=True, tag="till"):
    """Through ``terminal_sdk.Terminal``, as a till does; its journals go to ``folder``."""

    folder: str


class ShotsJob(SettlingJob, frozen=True, kw_only=True, tag="shots"):
    """Over HTTP, as bytes made beforehand; every answer is recorded. ``connections``: opened before the start."""

    connections: int


class EchoJob(msgspec.Struct, frozen=True, kw_only=True, tag="echo"):
    """Send signed requests of a settlement's size to a server that only answers, ``count`` a client at most."""

    base_url: str
    count: int


class LedgerJob(msgspec.Struct, frozen=True, kw_only=True, tag="ledger"):
    """Call the ledger itself, one bill a person. ``persons``: ids, each with the balance of ``settlement`` bills."""

    dsn: str
    persons: list[int]
    payment: Payment
    mark: str


class DoubleEntryJob(msgspec.Struct, frozen=True, kw_only=True, tag="double_entry"):
    """Plain transfers, one a payer, to payees in turn."""

    dsn: str
    payers: list[int]
    payees: list[int]


LoopJob: TypeAlias = HttpJob | TillJob | EchoJob | LedgerJob | DoubleEntryJob
Job: TypeAlias = LoopJob | ShotsJob


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag="closed"):
    """So many clients, each of which begins the next operation when the last is answered, for so many seconds."""

    clients: int
    seconds: float


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag="planned"):
    """Operations that begin at planned moments (seconds from the start), whether others are answered or not."""

    offsets_s: list[float]


Plan: TypeAlias = Closed | Planned


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job and how to run it."""

    job: Job
    plan: Plan


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """All is prepared: signed, connected, signed in."""


class Go(msgspec.Struct, frozen=True, kw_only=True):
    """Begin at this moment of the monotonic clock, which all processes of a machine share."""

    start_at: float


class Tally(msgspec.Struct, frozen=True, kw_only=True, tag="tally"):
    """What happened.

    ``latencies_ms``: of operations that ended as they should; from their begin, or from the planned moment ·
    ``late_ms``: how late each planned operation began · ``outcomes``: how many of each · ``elapsed_s``: from the start
    to the last answer · ``cpu_s``: CPU of the load process meanwhile · ``begun``: how many operations each client
    began, the first so many of its own · ``ran_out``: a client had nothing left to do before the time was over.
    """

    latencies_ms: list[float]
    late_ms: list[float]
    outcomes: dict[str, int]
    elapsed_s: float
    cpu_s: float
    begun: list[int]
    ran_out: bool

    @property
    def done(self) -> int:
        """How many operations ended as they should."""
        return self.outcomes.get(SETTLED, 0)

    def unused(self, things: Sequence[T], rehearsed: int = 0) -> list[T]:
        """What was dealt out to the clients in turn and not used: of each client, the last ones.

        ``rehearsed``: how many of each client were used before the start.
        """
        clients = len(self.begun)
        dealt = (things[client::clients][rehearsed + begun :] for client, begun in enumerate(self.begun))
        return [thing for left in dealt for thing in left]


class Record(msgspec.Struct, frozen=True, kw_only=True, tag="record"):
    """What became of each request, in their order; latencies, and how late it left, count from its planned moment.

    ``outcomes``: a settlement's state, the code of a refusal, or why there was no answer · ``ended_s``: when the answer
    came, from the start · ``cpu_s``: CPU of the load process meanwhile.
    """

    outcomes: list[str]
    latencies_ms: list[float]
    late_ms: list[float]
    ended_s: list[float]
    cpu_s: float


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The job came to nothing."""

    reason: str


Reply: TypeAlias = Ready | Tally | Record | Failed
