"""The users of a chaos run: those of the load test, with short deadlines, and aware that an answer may not come."""

from __future__ import annotations

import dataclasses
import random

from loadtest import users
from loadtest.bills import EXAMINATIONS, OWN_EXPENSE, lines_of
from loadtest.plan import Wish
from loadtest.till_user import TillUser
from loadtest.visits import Visit
from terminal_sdk import NotYetKnown

DEADLINE_MS = 15_000
"""After this a bill whose bank has not answered is turned back: short, so that a run comes to its end."""


def desk_bill(chance: random.Random) -> Wish:
    """As at the load test's desk, but every bill has a part that the bank is asked for."""
    lines = lines_of(chance, (EXAMINATIONS, 2), (OWN_EXPENSE, 1))
    return dataclasses.replace(users.desk_bill(chance), lines=lines, deadline_ms=DEADLINE_MS)


def pharmacy_bill(chance: random.Random) -> Wish:
    """As at the load test's pharmacy: mostly paid by the account alone."""
    return dataclasses.replace(users.pharmacy_bill(chance), deadline_ms=DEADLINE_MS)


def reversing_bill(chance: random.Random) -> Wish:
    """As at the load test's reversing till: sent again, taken back."""
    return dataclasses.replace(users.reversing_bill(chance), deadline_ms=DEADLINE_MS)


class ChaosTill(TillUser):
    """A till that asks for a status only where it knows something to compare it with."""

    abstract = True

    def status(self, visit: Visit) -> None:
        """As before, unless a reversal, or the other client of this terminal, may have changed it meanwhile."""
        if not isinstance(visit.reversal, NotYetKnown) and not visit.arrival.wish.repeat:
            super().status(visit)


class ChaosDesk(ChaosTill):
    """The desk of a hospital's outpatient department."""

    kind = dataclasses.replace(users.OutpatientDesk.kind, share=0.5, compose=desk_bill)
    weight = kind.share


class ChaosPharmacy(ChaosTill):
    """A pharmacy counter."""

    kind = dataclasses.replace(users.Pharmacy.kind, share=0.15, compose=pharmacy_bill)
    weight = kind.share


class ChaosReverser(ChaosTill):
    """A till that repeats itself and takes back: more of them than in peace, for they have the most to get wrong."""

    kind = dataclasses.replace(users.ReversingTill.kind, share=0.35, compose=reversing_bill)
    weight = kind.share


USERS: tuple[type[TillUser], ...] = (ChaosDesk, ChaosPharmacy, ChaosReverser)
