"""Every way in which a bank can misbehave, for every verb: a defined outcome, at that bank alone.

The table of docs/reference/bank-link.md is the one that is played here; the five verbs go to five banks at the same
time, and a sixth bank's traffic must not notice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from settlement.banks.codes import Verb
from settlement.banks.port import BankAnswer, BankOrder, BankOutcome
from settlement.banks.tuning import LinkTuning
from tests.integration.banks.conftest import World, until, worlds

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "bank-link.md").read_text("utf-8")
BANK_OF = {Verb.DEBIT: "BOSC", Verb.INQUIRE: "SPDB", Verb.REVERSE: "ICBC", Verb.VOID: "CCB", Verb.REFUND: "BOCOM"}
BYSTANDER = "CMB"
ON_ACCEPTING = {"accept_close", "accept_silent"}
SIGN_ON = {"mti": "0800", "network_code": "001"}
TUNING = LinkTuning(
    backoff_first_s=0.01,
    backoff_most_s=0.05,
    connect_timeout_s=0.5,
    connect_wait_s=0.2,
    echo_timeout_s=0.4,
    frame_timeout_s=0.4,
    stall_timeout_s=0.3,
    stray_burst=50,
    stray_per_s=1_000.0,
    key_change_pause_s=0.0,
    circuit_threshold=1_000,
)
TIMEOUT_MS = 800
GIVEN_UP = "given up after three probes"


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    fault: str
    outcome: str
    word: str
    connection: str


ROWS = [
    Row(fault.strip("`"), outcome, word.strip("`"), connection)
    for fault, outcome, word, connection in re.findall(
        r"^\| [^|]+ \| (none|`[^|]+`) \| (\w+) \| (|`\w+`) ?\| ([^|]+) \|$", PAGE, re.MULTILINE
    )
]


@pytest.fixture(scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Six banks, all links up; each row of the table leaves it as it found it."""
    async with worlds(tmp_path_factory.mktemp("city")) as make:
        yield await make([*BANK_OF.values(), BYSTANDER], tuning=TUNING, timeout_ms=TIMEOUT_MS)


async def send(city: World, verb: Verb, order: BankOrder) -> BankAnswer:
    calls = {
        Verb.DEBIT: city.links.debit,
        Verb.INQUIRE: city.links.inquire,
        Verb.REVERSE: city.links.reverse,
        Verb.VOID: city.links.void,
        Verb.REFUND: city.links.refund,
    }
    return await calls[verb](order, city.soon)


async def order_for(city: World, verb: Verb) -> BankOrder:
    """An order of this verb that a good bank would approve."""
    bank = BANK_OF[verb]
    if verb is Verb.DEBIT:
        return city.order(bank=bank)
    original = city.order(bank=bank)
    assert (await city.links.debit(original, city.soon)).outcome is BankOutcome.APPROVED
    return city.order(bank=bank, original=original)


async def set_fault(city: World, row: Row) -> None:
    """Play the row's fault at each of the five banks, on everything that comes next."""
    action, *more = row.fault.split()
    if action == "none":
        return
    details: dict[str, object] = {"count": 1}
    if action == "answer_code":
        details["code"] = more[0]
    if action == "wrong_identity":
        details["part"] = more[0]
    if action == "trickle" and more:
        details["delay_ms"] = int(more[0])
    if action == "delay_ms":
        details["delay_ms"] = TIMEOUT_MS + 300
    if action == "out_of_order":
        details["delay_ms"] = 50
    if row.connection == "none":
        details["count"] = None
        if action not in ON_ACCEPTING:
            details |= SIGN_ON
    for bank in BANK_OF.values():
        await city.fault(action, bank=bank, **details)
    if row.connection == "none":
        for bank in BANK_OF.values():
            await city.admin.hang_up(bank)
        await until(lambda: not any(city.state(bank).ready for bank in BANK_OF.values()))


async def all_ready(city: World) -> None:
    await until(lambda: all(state.ready for state in city.links.states().values()))


async def sign_ons(city: World) -> dict[str, int]:
    found = {}
    for bank in BANK_OF.values():
        rows = await city.log(bank, mti="0800")
        found[bank] = len([row for row in rows if row.network_code == "001"])
    return found


async def bystanders(city: World, over: asyncio.Event) -> int:
    """Traffic of another bank for as long as it takes; every message must be approved. How many there were."""
    count = 0
    while not over.is_set():
        answer = await city.links.debit(city.order(1, bank=BYSTANDER), city.soon)
        assert answer.outcome is BankOutcome.APPROVED, answer
        count += 1
        await asyncio.sleep(0.02)
    return count


def test_the_table_names_every_kind_of_misbehaviour() -> None:
    assert len(ROWS) == 29
    assert {row.outcome for row in ROWS} == {"approved", "unknown", "not_sent"}


@pytest.mark.parametrize("row", ROWS, ids=[row.fault.replace(" ", "-") for row in ROWS])
async def test_each_fault_has_its_outcome_for_every_verb_and_no_other_bank_notices(city: World, row: Row) -> None:
    orders = {verb: await order_for(city, verb) for verb in BANK_OF}
    before = await sign_ons(city)
    over = asyncio.Event()
    others = asyncio.create_task(bystanders(city, over))
    try:
        await set_fault(city, row)
        answers = dict(zip(orders, await asyncio.gather(*(send(city, *item) for item in orders.items())), strict=True))
        await city.admin.clear_faults()
        if row.connection == GIVEN_UP:
            for bank in BANK_OF.values():
                await city.admin.hang_up(bank)  # test_a_bank_that_reads_nothing_... has the probes
            await until(lambda: not any(city.state(bank).ready for bank in BANK_OF.values()))
        await all_ready(city)
        signed_on = {bank: count - before[bank] for bank, count in (await sign_ons(city)).items()}
    finally:
        over.set()
        assert await others > 0

    said = {verb: (str(answer.outcome), answer.detail) for verb, answer in answers.items()}
    assert said == dict.fromkeys(BANK_OF, (row.outcome, row.word))
    if row.connection.startswith("kept"):
        assert set(signed_on.values()) == {0}
    else:
        assert min(signed_on.values()) >= 1
    # Afterwards every bank works as before, and what was in doubt can be asked again.
    for verb, order in orders.items():
        again = (
            await send(city, verb, order)
            if verb is not Verb.DEBIT
            else await city.links.debit(city.order(bank=BANK_OF[verb]), city.soon)
        )
        assert again.outcome is BankOutcome.APPROVED, (verb, again)


async def test_a_bank_that_reads_nothing_is_given_up_and_found_again(tmp_path: Path) -> None:
    tuning = replace(TUNING, circuit_threshold=3, circuit_cool_down_first_s=0.01, circuit_cool_down_most_s=0.02)
    async with worlds(tmp_path) as make:
        world = await make(tuning=tuning, timeout_ms=300)
        await world.fault("stall_reading")
        answers = [await world.links.debit(world.order(), world.soon) for _ in range(4)]
        said = [(str(answer.outcome), answer.detail) for answer in answers]
        assert said == [*[("unknown", "timeout")] * 3, ("not_sent", "circuit_open")]
        await until(lambda: world.state().ready and world.state().circuit == "half_open")
        assert (await world.links.debit(world.order(), world.soon)).outcome is BankOutcome.APPROVED
        assert world.state().circuit == "closed"
