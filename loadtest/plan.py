"""The plan of a run, made from a seed before it begins: who comes when, to which till, with which card and bill."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadtest.population import Institution, Patient, PatientSpec
from loadtest.prepared import ProofOrder
from loadtest.shapes import Profile
from terminal_sdk.wire import FeeLine, OnBankDecline, VisitType

HOT_SHARE = 0.1
"""Which share of the arrivals brings one of the few cards that are used again and again."""
_HOT_CARD_EVERY_S = 4.0
_PATIENTS_MAX = 5_000
_POOR_SHARE, _BROKE_SHARE = 0.25, 0.02
_WELL_OFF_FEN, _POOR_FEN, _BANK_FEN, _HOT_FEN = 400_000, 1_000, 100_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What happens at the till with one bill.

    ``quoted``: a quote first, which the card signs live; otherwise the patient agrees to at most the bill's total.
    ``pin``: the patient types the bank PIN. Then, where the bill was settled: ``receipt`` and ``status`` are asked for,
    the same key is sent once more from the till's second journal (``repeat``), the bill is taken back (``reverse``).
    ``deadline_ms``: after it the service turns back a bill whose bank has not answered.
    """

    lines: tuple[FeeLine, ...]
    visit_type: VisitType = "outpatient"
    quoted: bool = False
    pin: bool = False
    on_bank_decline: OnBankDecline = "release"
    receipt: bool = False
    status: bool = False
    repeat: bool = False
    reverse: bool = False
    deadline_ms: int = 150_000

    @property
    def total_fen(self) -> int:
        """The bill's total."""
        return sum(line.amount_fen for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of till: its ``share`` of the arrivals and of the terminals, and what its bills are like.

    ``letter`` tells its terminals apart: LT, the letter, five digits. ``compose`` makes a bill by chance.
    """

    name: str
    letter: str
    share: float
    institution: Institution
    compose: Callable[[random.Random], Wish]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A patient at a till, ``at_ms`` after the run began. ``after``: the arrival before with the same card."""

    number: int
    at_ms: int
    kind: str
    terminal_id: str
    patient: int
    hot: bool
    counter: int
    after: int | None
    visit_no: str
    wish: Wish

    def order(self, patient: Patient, start_ms: int) -> ProofOrder:
        """The proof that this arrival needs, for its planned moment; ``start_ms``: when the run begins (epoch)."""
        return ProofOrder(
            card=patient.card,
            counter=self.counter,
            terminal_id=self.terminal_id,
            visit_no=self.visit_no,
            total_fen=self.wish.total_fen,
            agreed="quote" if self.wish.quoted else f"ceiling:{self.wish.total_fen}",
            signed_at_ms=start_ms + self.at_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything about a run but its outcome. ``terminals``: by kind; ``patients``: the hot ones first."""

    seed: int
    profile: Profile
    run: str
    kinds: tuple[Kind, ...]
    terminals: Mapping[str, tuple[str, ...]]
    patients: tuple[PatientSpec, ...]
    hot_cards: int
    arrivals: tuple[Arrival, ...]


def make_plan(
    *,
    seed: int,
    profile: Profile,
    kinds: Sequence[Kind],
    tills: int,
    run: str,
    banks: Sequence[str],
    patients: int | None = None,
    hot_share: float = HOT_SHARE,
) -> Plan:
    """The plan of a seed; the same again for the same arguments, but for ``run``, which begins every visit number.

    ``patients``: how many cards there are besides the hot ones; by default one for each of their arrivals, up to 5 000,
    after which they come again in the same order.
    """
    chance = random.Random(seed)  # noqa: S311 - who comes by chance is no secret
    terminals = {
        kind.name: tuple(f"LT{kind.letter}{number:05d}" for number in range(max(1, round(tills * kind.share))))
        for kind in kinds
    }
    hot_cards = math.ceil(profile.peak * hot_share * _HOT_CARD_EVERY_S)
    moments = list(profile.arrivals_ms(chance))
    hot = [chance.random() < hot_share for _ in moments]
    cold_cards = max(1, min(patients or _PATIENTS_MAX, hot.count(False)))
    turns = _Turns(hot_cards, cold_cards)
    next_terminal = {name: itertools.cycle(ids) for name, ids in terminals.items()}
    arrivals = []
    for number, (at_ms, is_hot) in enumerate(zip(moments, hot, strict=True)):
        (kind,) = chance.choices(kinds, [each.share for each in kinds])
        patient, counter, after = turns.take(number, is_hot)
        arrivals.append(
            Arrival(
                number=number,
                at_ms=at_ms,
                kind=kind.name,
                terminal_id=next(next_terminal[kind.name]),
                patient=patient,
                hot=is_hot,
                counter=counter,
                after=after,
                visit_no=f"{run}-{number:06d}",
                wish=kind.compose(chance),
            )
        )
    return Plan(
        seed=seed,
        profile=profile,
        run=run,
        kinds=tuple(kinds),
        terminals=terminals,
        patients=tuple(_specs(chance, hot_cards, cold_cards, banks)),
        hot_cards=hot_cards,
        arrivals=tuple(arrivals),
    )


class _Turns:
    """Which card comes next, with which counter, and after which arrival of the same card."""

    def __init__(self, hot_cards: int, cold_cards: int) -> None:
        self._hot = itertools.cycle(range(hot_cards))
        self._cold = itertools.cycle(range(hot_cards, hot_cards + cold_cards))
        self._used: dict[int, tuple[int, int]] = {}

    def take(self, number: int, hot: bool) -> tuple[int, int, int | None]:
        patient = next(self._hot if hot else self._cold)
        counter, last = self._used.get(patient, (0, None))
        self._used[patient] = (counter + 1, number)
        return patient, counter + 1, last


def _specs(chance: random.Random, hot_cards: int, cold_cards: int, banks: Sequence[str]) -> Iterator[PatientSpec]:
    """Most have enough on the insurance account; some have little, and a few have nothing at the bank either."""
    for number in range(hot_cards + cold_cards):
        lot = chance.random()
        account_fen = _POOR_FEN if lot < _POOR_SHARE else _WELL_OFF_FEN
        bank_fen = 0 if lot < _BROKE_SHARE else _BANK_FEN
        if number < hot_cards:
            account_fen, bank_fen = _HOT_FEN, _HOT_FEN
        yield PatientSpec(
            number=number,
            bank_code=banks[number % len(banks)],
            bank_fen=bank_fen,
            current_year_fen=account_fen // 2,
            carried_over_fen=account_fen - account_fen // 2,
        )
