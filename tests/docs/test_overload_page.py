"""The page on overload gives every bound as the code has it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from settlement.api.limits import Limits
from settlement.cli.serving import BACKLOG
from settlement.config import Settings
from settlement.db.batcher import GIVE_UP_AFTER_S, Batcher
from settlement.engine.context import EngineLimits

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "overload.md"


def test_the_table_of_bounds_is_the_codes() -> None:
    settings = Settings()
    limits, engine = Limits.of(settings), EngineLimits()
    expected = {
        "connections not accepted yet": (BACKLOG,),
        "bodies being received": (limits.receiving_max,),
        "of them larger than 64 KiB, or of unknown size": (64, limits.receiving_large_max),
        "a body": (limits.body_bytes_max, limits.body_timeout_s),
        "enrolments and sign-ins": (limits.sign_in_max,),
        "requests under way": (limits.in_flight_max,),
        "refusals held back": (limits.held_back_max,),
        "in line for the work, of each urgency": (limits.line.waiting_max,),
        "worked on": (limits.line.places,),
        "waiting for banks": (limits.parked_max,),
        "waiting for one bank": (limits.parked_per_bank_max,),
        "calls that wait for a batch of the ledger, of one kind": (
            inspect.signature(Batcher).parameters["queue_max"].default,
        ),
        "connections to the database": (settings.db_pool_max,),
        "sagas carried on in the background": (engine.background_max,),
        "legs that recovery works on": (engine.recovery_batch, engine.recovery_per_bank),
    }
    rows = dict(_rows())
    assert limits.large_body_bytes == 64 * 1024
    for name, figures in expected.items():
        told = [float(each) for each in re.findall(r"\d+(?:\.\d+)?", name + " " + rows[name])]
        assert [float(each) for each in figures] == told, name


def test_the_words_around_it_are_the_codes() -> None:
    limits, text = Limits.of(Settings()), " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"more than {limits.terminal_rate:.0f} times a second in the long run" in text
    assert "a quarter of all places in flight" in text
    assert limits.in_flight_per_terminal_max * 4 == limits.in_flight_max
    assert "held back for a quarter of a second" in text
    assert limits.hold_back_s == 0.25
    assert f"Only `max_working` requests ({limits.line.places})" in text
    assert limits.line.places_reserved * 8 == limits.line.places_per_terminal * 8 == limits.line.places
    assert "Who has waited a second is refused" in text
    assert limits.line.patience_s == 1.0
    assert "waits a tenth of a second" in text
    assert limits.line.standing_s == 0.1
    assert "tried again for three seconds" in text
    assert GIVE_UP_AFTER_S == 3.0


def _rows() -> list[tuple[str, str]]:
    cells = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [(row[1].strip(), row[2].strip()) for row in cells]
