"""The users of the load test: tills of a hospital, a pharmacy, and one that repeats, takes back and asks."""

from __future__ import annotations

import random

from loadtest.bills import EXAMINATIONS, MEDICINES, OWN_EXPENSE, happens, lines_of
from loadtest.plan import Kind, Wish
from loadtest.population import Institution
from loadtest.till_user import TillUser

HOSPITAL = Institution("H31010199101", "压测示范医院", "hospital", 3)
PHARMACY = Institution("P31010199102", "压测示范药房", "pharmacy", 1)


def desk_bill(chance: random.Random) -> Wish:
    """Examinations; every second bill has a part that no insurance pays. The PIN is typed; three in ten see a quote."""
    own_expense = ((OWN_EXPENSE, 1),) if happens(chance, 50) else ()
    return Wish(
        lines=lines_of(chance, (EXAMINATIONS, 3), *own_expense),
        quoted=happens(chance, 30),
        pin=True,
        receipt=True,
        status=happens(chance, 20),
    )


def pharmacy_bill(chance: random.Random) -> Wish:
    """Medicines, mostly paid by the account alone; small sums without a PIN; what the bank does not pay is cash."""
    own_expense = ((OWN_EXPENSE, 1),) if happens(chance, 10) else ()
    return Wish(
        lines=lines_of(chance, (MEDICINES, 3), *own_expense),
        visit_type="pharmacy",
        on_bank_decline="cash",
        receipt=happens(chance, 50),
    )


def reversing_bill(chance: random.Random) -> Wish:
    """As at the desk, without quotes; half of them sent again under the same key, half of them taken back."""
    return Wish(
        lines=lines_of(chance, (EXAMINATIONS, 2), (OWN_EXPENSE, 1)),
        pin=True,
        status=True,
        repeat=happens(chance, 50),
        reverse=happens(chance, 50),
    )


class OutpatientDesk(TillUser):
    """The desk of a hospital's outpatient department."""

    kind = Kind(name="desk", letter="H", share=0.5, institution=HOSPITAL, compose=desk_bill)
    weight = kind.share


class Pharmacy(TillUser):
    """A pharmacy counter."""

    kind = Kind(name="pharmacy", letter="P", share=0.35, institution=PHARMACY, compose=pharmacy_bill)
    weight = kind.share


class ReversingTill(TillUser):
    """A till that repeats itself, takes back, and asks what became of its keys."""

    kind = Kind(name="reversing", letter="R", share=0.15, institution=HOSPITAL, compose=reversing_bill)
    weight = kind.share


USERS: tuple[type[TillUser], ...] = (OutpatientDesk, Pharmacy, ReversingTill)
