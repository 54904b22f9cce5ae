"""Each verb of the port, over TCP to a bank's durable books."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from settlement.banks.port import BankOutcome
from settlement.businessdate import SHANGHAI, business_date
from settlement.stubs.bankhost.profile import Duplicates
from terminal_sdk.pin import encode_pin_block

APPROVED, DECLINED = BankOutcome.APPROVED, BankOutcome.DECLINED
NOT_FOUND, UNKNOWN, NOT_SENT = BankOutcome.NOT_FOUND, BankOutcome.UNKNOWN, BankOutcome.NOT_SENT


async def test_a_debit_is_booked_and_answered(world) -> None:
    answer = await world.links.debit(world.order(1_234), world.soon)

    assert (answer.outcome, answer.response_code, answer.detail) == (APPROVED, "00", "")
    days = {business_date(dt.datetime.now(SHANGHAI) + dt.timedelta(minutes=m), dt.time(23)) for m in (-1, 0)}
    assert answer.settlement_date in days
    (booked,) = await world.books(state="live")
    assert (booked.amount_fen, booked.authorisation) == (1_234, answer.authorisation)
    assert await world.balance() == 10_000_000 - 1_234


async def test_a_decline_keeps_the_banks_code(world) -> None:
    answer = await world.links.debit(world.order(10_000_001), world.soon)
    assert (answer.outcome, answer.response_code) == (DECLINED, "55")
    await world.open_accounts(balance_fen=5)
    answer = await world.links.debit(world.order(6), world.soon)
    assert (answer.outcome, answer.response_code, answer.authorisation) == (DECLINED, "51", None)


async def test_a_pin_reaches_the_bank_under_its_own_key(world) -> None:
    key = secrets.token_bytes(16)

    async def debit(pin: str):
        block = encode_pin_block(pin, world.order().pan, key)
        return await world.links.debit(world.order(200_000, pin_block=block, pin_key=key), world.soon)

    codes = [(await debit(pin)).response_code for pin in ("123456", "000000", "000000", "000000", "123456")]
    assert codes == ["00", "55", "55", "75", "75"]


async def test_void_then_inquiry(world) -> None:
    debit = world.order()
    await world.links.debit(debit, world.soon)
    assert (await world.links.inquire(world.order(original=debit), world.soon)).outcome is APPROVED

    void = world.order(original=debit)
    first, again = [await world.links.void(void, world.soon) for _ in range(2)]
    assert (first.outcome, again) == (APPROVED, first)
    asked = await world.links.inquire(world.order(original=debit), world.soon)
    assert (asked.outcome, asked.detail) == (DECLINED, "voided")
    assert await world.balance() == 10_000_000


async def test_after_the_cut_over_a_void_is_too_late_and_a_refund_is_made(world) -> None:
    debit = world.order()
    approved = await world.links.debit(debit, world.soon)
    await world.admin.cut_over("BOSC")

    void = await world.links.void(world.order(original=debit), world.soon)
    assert (void.outcome, void.response_code) == (DECLINED, "13")
    refund = await world.links.refund(world.order(original=debit), world.soon)
    assert refund.outcome is APPROVED
    assert refund.settlement_date == approved.settlement_date + dt.timedelta(days=1)
    assert await world.balance() == 10_000_000


async def test_a_reversal_may_be_repeated(world) -> None:
    debit = world.order()
    await world.links.debit(debit, world.soon)
    answers = [await world.links.reverse(world.order(original=debit), world.soon) for _ in range(3)]
    assert [answer.outcome for answer in answers] == [APPROVED] * 3
    assert await world.balance() == 10_000_000
    assert len(await world.books(kind="reversal")) == 1


async def test_a_reversal_may_carry_the_identity_of_its_debit(world) -> None:
    debit = world.order()
    await world.links.debit(debit, world.soon)
    reversal = replace(debit, original=debit.identity)
    assert (await world.links.reverse(reversal, world.soon)).outcome is APPROVED


async def test_what_never_arrived_is_not_found(world) -> None:
    never = world.order()
    assert (await world.links.inquire(world.order(original=never), world.soon)).outcome is NOT_FOUND
    assert (await world.links.reverse(world.order(original=never), world.soon)).outcome is NOT_FOUND
    late = await world.links.debit(never, world.soon)
    assert (late.outcome, late.response_code) == (DECLINED, "12")
    assert await world.balance() == 10_000_000


async def test_a_declined_debit_is_found_with_its_first_code(world) -> None:
    debit = world.order(100_001)
    await world.links.debit(debit, world.soon)
    asked = await world.links.inquire(world.order(100_001, original=debit), world.soon)
    assert (asked.outcome, asked.response_code) == (DECLINED, "55")


async def test_an_inquiry_for_another_amount_proves_nothing(world) -> None:
    debit = world.order(1_000)
    await world.links.debit(debit, world.soon)
    asked = await world.links.inquire(world.order(1_001, original=debit), world.soon)
    assert (asked.outcome, asked.detail) == (UNKNOWN, "wrong_amount")


async def test_inquiry_is_not_sent_where_it_is_not_offered(make_world) -> None:
    world = await make_world(banks=("SRCB",))
    order = world.order(bank="SRCB")
    answer = await world.links.inquire(replace(order, original=order.identity), world.soon)
    assert (answer.outcome, answer.detail) == (NOT_SENT, "not_offered")
    assert not await world.log("SRCB", "0600")


@pytest.mark.parametrize("repeats", ["stored", "94"])
async def test_a_repeated_debit_never_moves_money_twice(make_world, repeats: str) -> None:
    world = await make_world(duplicates=Duplicates(repeats))
    order = world.order()
    first = await world.links.debit(order, world.soon)
    again = await world.links.debit(order, world.soon)

    assert first.outcome is APPROVED
    if repeats == "stored":
        assert again == first
    else:
        assert (again.outcome, again.response_code) == (UNKNOWN, "94")
    assert await world.balance() == 10_000_000 - 1_000


async def test_nothing_leaves_after_the_lease(world) -> None:
    answer = await world.links.debit(world.order(), world.soon - 61)
    assert (answer.outcome, answer.detail) == (NOT_SENT, "lease_over")
    assert not await world.log()


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"amount_fen": 0}, "malformed"),
        ({"pan": "12"}, "malformed"),
        ({"pin_block": b"x" * 16, "pin_key": b"k" * 16}, "pin_block_invalid"),
    ],
)
async def test_an_order_that_cannot_be_a_message_is_not_sent(world, changes, detail: str) -> None:
    answer = await world.links.debit(world.order(**changes), world.soon)
    assert (answer.outcome, answer.detail) == (NOT_SENT, detail)


async def test_a_bank_that_is_not_in_the_directory(world) -> None:
    answer = await world.links.debit(world.order(bank="CEB"), world.soon)
    assert (answer.outcome, answer.detail) == (NOT_SENT, "no_such_bank")


async def test_all_twelve_links_work_side_by_side(make_world) -> None:
    codes = ("BOSC", "SPDB", "SRCB", "ICBC", "ABC", "CCB", "PSBC", "BOCOM", "BOC", "CMB", "CEB", "SWITCH")
    world = await make_world(banks=codes)
    assert all(state.ready for state in world.links.states().values())
    answers = await asyncio.gather(*(world.links.debit(world.order(bank=code), world.soon) for code in codes))
    assert [answer.outcome for answer in answers] == [APPROVED] * 12
    summaries = await world.admin.summaries()
    assert {summary.bank for summary in summaries if summary.balanced} == set(codes)


async def test_concurrent_debits_never_overdraw(world) -> None:
    await world.open_accounts(balance_fen=1_000)
    answers = await asyncio.gather(*(world.links.debit(world.order(100), world.soon) for _ in range(200)))
    assert sorted(answer.response_code for answer in answers) == ["00"] * 10 + ["51"] * 190
    assert await world.balance() == 0


async def test_the_log_shows_every_frame_and_no_card_number(world) -> None:
    order = world.order()
    await world.links.debit(order, world.soon)
    rows = [row async for row in world.admin.log("BOSC", reference=order.identity.reference)]
    assert [(row.direction, row.mti, row.response_code) for row in rows] == [
        ("received", "0200", ""),
        ("sent", "0210", "00"),
    ]
    assert rows[0].pan == "622202*********0123"
    network = [row.network_code async for row in world.admin.log("BOSC") if row.mti == "0800"]
    assert network == ["001", "101"]


async def test_the_metrics_count_what_happened(world) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"bank": "BOSC", **labels}) or 0.0

    labels = {"verb": "debit", "outcome": "approved", "detail": ""}
    before = value("settlement_bank_requests_total", **labels)
    await world.links.debit(world.order(), world.soon)
    assert value("settlement_bank_requests_total", **labels) == before + 1
    assert value("settlement_bank_link_ready") == 1
    assert value("settlement_bank_circuit_state") == 0
    assert value("settlement_bank_in_flight") == 0
