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
from settlement.banks.router import BankLinks
from settlement.banks.tuning import LinkTuning
from tests.integration.banks.conftest import CLOCK, World, approved, until, worlds

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "bank-link.md").read_text("utf-8")
BANK_OF = {Verb.DEBIT: "BOSC", Verb.INQUIRE: "SPDB", Verb.REVERSE: "ICBC", Verb.VOID: "CCB", Verb.REFUND: "BOCOM"}
BYSTANDER = "CMB"
ON_ACCEPTING = {"accept_close", "accept_silent"}
SIGN_ON = {"mti": "0800", "network_code": "001"}
PATIENT = LinkTuning(
    backoff_first_s=0.01,
    backoff_most_s=0.05,
    connect_timeout_s=2.0,
    connect_wait_s=0.2,
    echo_timeout_s=5.0,
    frame_timeout_s=20.0,
    stray_burst=50,
    stray_per_s=20.0,
    key_change_pause_s=0.0,
    circuit_threshold=1_000,
)
TIMEOUT_MS, LONG_MS = 500, 20_000
LINKS: dict[str, tuple[LinkTuning, int]] = {
    "": (PATIENT, LONG_MS),
    "timeout": (PATIENT, TIMEOUT_MS),
    "slow_frame": (replace(PATIENT, frame_timeout_s=0.2), LONG_MS),
    "not_connected": (replace(PATIENT, connect_timeout_s=1.0), LONG_MS),
}
"""By the word of a row: links whose patience ends with that word, and no other patience before it (other words: the
first). A busy machine may make a row slow, but not another one."""
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


class City(World):
    """Six banks, and for each kind of patience a link to each."""

    links_by_word: dict[str, BankLinks]

    def patience(self, row: Row) -> BankLinks:
        """The links for a row's message."""
        return self.links_by_word.get(row.word, self.links)


@pytest.fixture(scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[City]:
    """Each row of the table leaves it as it found it."""
    async with worlds(tmp_path_factory.mktemp("city")) as make:
        world = await make([*BANK_OF.values(), BYSTANDER], connected=False)
        city = City(world.admin, world.directory, world.zone_master)
        city.links_by_word = {}
        for word, (tuning, timeout_ms) in LINKS.items():
            await city.connect(tuning, timeout_ms=timeout_ms)
            city.links_by_word[word] = city.links
        city.links = city.links_by_word[""]
        yield city
        for links in city.links_by_word.values():
            await links.stop(0.1)


async def send(links: BankLinks, verb: Verb, order: BankOrder) -> BankAnswer:
    calls = {
        Verb.DEBIT: links.debit,
        Verb.INQUIRE: links.inquire,
        Verb.REVERSE: links.reverse,
        Verb.VOID: links.void,
        Verb.REFUND: links.refund,
    }
    return await calls[verb](order, CLOCK.monotonic() + 60)


async def order_for(city: City, verb: Verb) -> BankOrder:
    """An order of this verb that a good bank would approve."""
    bank = BANK_OF[verb]
    if verb is Verb.DEBIT:
        return city.order(bank=bank)
    original = city.order(bank=bank)
    assert (await city.links.debit(original, city.soon)).outcome is BankOutcome.APPROVED
    return city.order(bank=bank, original=original)


async def set_fault(city: City, row: Row) -> None:
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
        details["delay_ms"] = TIMEOUT_MS + 500
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
        await until(
            lambda: not any(links.states()[bank].ready for links in all_links(city) for bank in BANK_OF.values())
        )


def all_links(city: City) -> list[BankLinks]:
    return list(city.links_by_word.values())


async def all_ready(city: City) -> None:
    await until(lambda: all(state.ready for links in all_links(city) for state in links.states().values()))


async def sign_ons(city: City) -> dict[str, int]:
    found = {}
    for bank in BANK_OF.values():
        rows = await city.log(bank, mti="0800")
        found[bank] = len([row for row in rows if row.network_code == "001"])
    return found


async def signed_on_anew(city: City, before: dict[str, int]) -> bool:
    return all(count > before[bank] for bank, count in (await sign_ons(city)).items())


async def bystanders(city: City, over: asyncio.Event) -> int:
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
async def test_each_fault_has_its_outcome_for_every_verb_and_no_other_bank_notices(city: City, row: Row) -> None:
    orders = {verb: await order_for(city, verb) for verb in BANK_OF}
    before = await sign_ons(city)
    over = asyncio.Event()
    others = asyncio.create_task(bystanders(city, over))
    try:
        await set_fault(city, row)
        links = city.patience(row)
        came = await asyncio.gather(*(send(links, verb, order) for verb, order in orders.items()))
        answers = dict(zip(orders, came, strict=True))
        await city.admin.clear_faults()
        if row.connection == GIVEN_UP:  # the probes have a test of their own
            for bank in BANK_OF.values():
                await city.admin.hang_up(bank)
            await until(lambda: signed_on_anew(city, before))
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
            await send(city.links, verb, order)
            if verb is not Verb.DEBIT
            else await city.links.debit(city.order(bank=BANK_OF[verb]), city.soon)
        )
        assert again.outcome is BankOutcome.APPROVED, (verb, again)


async def test_a_bank_that_reads_nothing_is_given_up_and_found_again(tmp_path: Path) -> None:
    cool_down = {"circuit_threshold": 3, "circuit_cool_down_first_s": 0.01, "circuit_cool_down_most_s": 0.02}
    async with worlds(tmp_path) as make:
        world = await make(tuning=replace(PATIENT, echo_timeout_s=1.0, **cool_down), timeout_ms=300)
        await world.fault("stall_reading")
        answers = [await world.links.debit(world.order(), world.soon) for _ in range(4)]
        said = [(str(answer.outcome), answer.detail) for answer in answers]
        assert said == [*[("unknown", "timeout")] * 3, ("not_sent", "circuit_open")]
        await until(lambda: approved(world))
        assert world.state().circuit == "closed"
